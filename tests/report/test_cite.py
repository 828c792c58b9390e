"""What a paper says of a study: its methods in LaTeX, and the entries that they cite."""

import re

import pytest
import synthetic_study
from click.testing import CliRunner

from disentangle_bench import registry
from disentangle_bench.cli import main
from disentangle_bench.evaluation.scores import named_metrics
from disentangle_bench.records.study_dir import StudyDir
from disentangle_bench.report.cite import bibliography, methods
from disentangle_bench.report.papers import PAPERS, cited, entries


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    found = StudyDir(tmp_path_factory.mktemp("studies") / "one")
    models = {"vae": ("", [0.0]), "beta_vae": ("beta", [2.0, 4.0]), "my_module:Mine_2": ("strength", [0.5])}
    synthetic_study.write(found, synthetic_study.records(1, models, 3))
    return found


@pytest.mark.parametrize("kind", PAPERS)
def test_all_that_is_registered_has_a_paper(kind):
    assert set(PAPERS[kind]) == set(registry.TABLES[kind])
    keys = {key for found in PAPERS[kind].values() for key in found}
    assert keys <= set(entries())


def test_every_entry_is_used_and_names_author_title_and_year():
    used = {key for known in PAPERS.values() for keys in known.values() for key in keys}
    assert set(entries()) == used | {"kingma2015"}
    for key, text in entries().items():
        fields = dict(re.findall(r"^  (\w+) = \{(.*)\},?$", text, re.M))
        assert {"author", "title", "year"} <= set(fields), key
        # A key is the first author's name and the year.
        plain = re.sub(r"[^a-z]", "", fields["author"].split(",")[0].lower().replace(r"{\"a}", "a"))
        assert key.startswith(plain)
        assert fields["year"] in key
        assert text.count("{") == text.count("}")


@pytest.mark.parametrize("name", PAPERS["metric"])
def test_a_metrics_own_words_name_the_same_paper(name):
    """The author and year that a metric states are those of the entry, and so is the number on arXiv."""
    paper, entry = named_metrics([name])[name].paper, entries()[PAPERS["metric"][name][0]]
    year = re.search(r"\b(?:19|20)\d\d\b", paper)[0]
    assert f"year = {{{year}}}" in entry
    assert paper.split()[0].lower()[:5] in entry.lower().replace(r"{\"a}", "a")
    number = re.search(r"arXiv:([0-9.]+)", paper)
    assert number is None or f"eprint = {{{number[1]}}}" in entry


def test_the_paragraph_says_what_was_done(study):
    text = methods(study)
    assert r"VAE~\cite{kingma2014}" in text
    assert r"$\beta$-VAE (beta = 2, 4)~\cite{higgins2017}" in text
    assert r"my\_module:Mine\_2 (strength = 0.5) and " in text
    assert "on set0 (737,280 images, drawn again), with" in text
    assert cited("data set", "color_dsprites") == r"~\cite{matthey2017,locatello2019}"
    assert "with 3 seeds for each setting (0 to 2) and 10 latents" in text
    assert "updated 300,000 times with batches of 64 images" in text
    assert r"FactorVAE metric~\cite{kim2018} (revision 1)" in text
    assert r"disentangle\_bench 0.1.0 with PyTorch 2.8.0" in text
    assert len(text.splitlines()) == 1


def test_what_the_paragraph_cites_is_in_the_bibliography_and_nothing_else(study):
    keys_cited = {key for keys in re.findall(r"\\cite\{([^}]*)\}", methods(study)) for key in keys.split(",")}
    text = bibliography(study)
    assert set(re.findall(r"^@\w+\{(\w+),$", text, re.M)) == keys_cited
    assert "% set0: its paper is not known here\n" in text
    assert "% my_module:Mine_2: its paper is not known here\n" in text


def test_the_command_prints_both_or_the_entries_alone(study, tmp_path):
    both = CliRunner().invoke(main, ["cite", str(study.path)])
    assert both.output == f"{methods(study)}\n{bibliography(study)}"
    alone = CliRunner().invoke(main, ["cite", str(study.path), "--bibtex"])
    assert alone.output == bibliography(study)
    nothing = CliRunner().invoke(main, ["cite", str(tmp_path)])
    assert nothing.exit_code == 2
