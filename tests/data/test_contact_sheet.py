import numpy as np
import pytest
import torch
from PIL import Image, ImageFont

from disentangle_bench.data.contact_sheet import (
    captions,
    contact_sheet,
    pictures,
    save_contact_sheet,
    shortened,
    sweep,
)
from disentangle_bench.data.parts import hold_out
from disentangle_bench.data.subgrid import subgrid
from disentangle_bench.errors import BenchError


def test_a_row_varies_one_factor_over_its_whole_range(dsprites):
    for column, size in enumerate(dsprites.factor_sizes):
        factors = sweep(dsprites, column)
        assert factors[:, column].tolist() == sorted(set(factors[:, column].tolist()))
        assert (factors[0, column], factors[-1, column]) == (0, size - 1)
        others = np.delete(factors.numpy(), column, axis=1)
        assert (others == others[0]).all()


def test_the_images_stand_where_they_should(shapes3d):
    sheet = contact_sheet(shapes3d)
    row, place = 3, 5
    image = shapes3d.images(shapes3d.index(sweep(shapes3d, row)[[place]]))[0].permute(1, 2, 0).numpy()
    top, left = 2 + row * 97 + 18, 2 + place * 66
    assert np.array_equal(sheet[top : top + 64, left : left + 64], image)
    assert sheet.shape == (2 + 6 * 97, 2 + 12 * 66, 3)


def test_a_value_has_its_name_where_it_has_one(shapes3d):
    assert captions(shapes3d, sweep(shapes3d, 4), 4) == ["cube", "cylinder", "sphere", "capsule"]
    assert captions(shapes3d, sweep(shapes3d, 3), 3) == [str(value) for value in range(8)]


def test_a_name_is_cut_to_the_width_of_its_image():
    font = ImageFont.load_default(10)
    assert shortened("ellipse", 64, font) == "ellipse"
    cut = shortened("a beer cup with a handle", 64, font)
    assert cut.startswith("a beer")
    assert cut.endswith("…")
    assert font.getlength(cut) <= 64 < font.getlength(f"{cut[:-1]}xx…")
    assert shortened("ellipse", 3, font) == "…"


def test_what_is_missing_stays_grey(dsprites):
    part = subgrid(dsprites, {"orientation": 8, "posX": 8, "posY": 8})
    full, column = contact_sheet(part), 2
    shown = sweep(part, column)
    training, _ = hold_out(part, {"orientation": [3], "posY": [int(shown[0, 4])]})
    missing = pictures(training, shown)
    assert (missing[3] == 200).all()
    assert torch.equal(missing[2], part.images(part.index(shown[[2]]))[0])
    assert contact_sheet(training).shape == full.shape


def test_the_file_is_a_png_or_an_error(dsprites, tmp_path):
    save_contact_sheet(dsprites, tmp_path / "sheet.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "sheet.png")), contact_sheet(dsprites))
    with pytest.raises(BenchError, match="cannot be written"):
        save_contact_sheet(dsprites, tmp_path / "missing" / "sheet.png")
