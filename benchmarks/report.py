"""How long the tables and the report of 12,600 runs take, and how much memory: `python benchmarks/report.py`.

The runs are synthetic (7 data sets, 6 models of 6 settings, 50 seeds); they are written once and kept in the temporary
folder while this runs. Each line is a process of its own.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "report"))
import synthetic_study

from disentangle_bench.records.study_dir import StudyDir

MEASURED = """
import resource, sys, time
from pathlib import Path
start = time.perf_counter()
from disentangle_bench.records.study_dir import StudyDir
{work}
seconds = time.perf_counter() - start
used = resource.getrusage(resource.RUSAGE_SELF)
busy = used.ru_utime + used.ru_stime
print(f"{{seconds:.1f}} s ({{busy:.1f}} s of a core), {{used.ru_maxrss / 1024:.0f}} MiB at most")
"""
WORK = {
    "tables (all CSV files)": """
from disentangle_bench.report.study import make_tables, write_csv
study = StudyDir(Path(sys.argv[1]))
write_csv(study.path, make_tables([study]))
""",
    "tables and the two figures": """
from disentangle_bench.report.study import write_tables
write_tables(StudyDir(Path(sys.argv[1])))
""",
    "report/index.html and its folder": """
from disentangle_bench.report.html import write_report
write_report(StudyDir(Path(sys.argv[1])))
""",
}
NAMES = ("factor_vae", "mig", "beta_vae", *(f"metric{i}" for i in range(14)))

for metrics in (3, 17):
    with tempfile.TemporaryDirectory() as folder:
        study = StudyDir(Path(folder) / "study")
        synthetic_study.write(study, synthetic_study.large_records(NAMES[:metrics]))
        for what, work in WORK.items():
            command = [sys.executable, "-c", MEASURED.format(work=work), str(study.path)]
            result = subprocess.run(command, capture_output=True, text=True, check=True)
            print(f"12,600 runs, {metrics} metrics: {what}: {result.stdout.strip()}", flush=True)
        page = study.path / "report" / "index.html"
        print(
            f"12,600 runs, {metrics} metrics: index.html has {page.stat().st_size / 2**20:.2f} MiB",
            flush=True,
        )
