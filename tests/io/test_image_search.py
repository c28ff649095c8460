"""What patterns, folders and files stand for, and where their results belong."""

from pathlib import Path

import pytest

from napari_incontext_seg.errors import FileError, InputError
from napari_incontext_seg.io.image_search import outputs_for
from napari_incontext_seg.io.paths import image_files


@pytest.fixture
def data(tmp_path):
    """Two days of stacks, of which some have the same names; names alone count here."""
    for name in (
        "day1/a.tif", "day1/b10.ome.tif", "day1/b9.ome.tif", "day2/a.tif", "day2/notes.txt", "day2/.hidden.tif",
        "day2/deep/c.png", "day2/z.zarr/zarr.json", "slices/s1/0.png", "slices/s2/0.png",
    ):  # fmt: skip
        file = tmp_path / "data" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return tmp_path / "data"


def found(inputs, out):
    """Image -> result, as paths below their folders."""
    return {image.name: str(target.relative_to(out)) for image, target in outputs_for(inputs, out).items()}


def test_a_pattern_keeps_the_folders_below_what_it_names(data, tmp_path):
    out = tmp_path / "out"
    targets = outputs_for([data / "*" / "*.tif"], out)
    assert [str(target.relative_to(out)) for target in targets.values()] == [
        str(Path(p)) for p in ("day1/a.tif", "day1/b9.ome.tif", "day1/b10.ome.tif", "day2/a.tif")
    ]


def test_a_folder_means_the_images_directly_inside(data, tmp_path):
    assert found([data / "day2"], tmp_path) == {"a.tif": "a.tif", "z.zarr": "z.zarr"}


def test_any_depth(data, tmp_path):
    assert found([data / "day2" / "**" / "*"], tmp_path)["c.png"] == str(Path("deep/c.tif"))


def test_brackets_in_the_name_of_a_folder_are_no_wildcards(data, tmp_path):
    odd = data.rename(tmp_path / "exp [HeLa]")
    assert found([odd / "day2" / "*.tif"], tmp_path / "out") == {"a.tif": "a.tif"}
    assert [f.name for f in image_files(odd / "day1" / "b*.tif")] == ["b9.ome.tif", "b10.ome.tif"]


def test_folders_alone_are_stacks_of_their_images(data, tmp_path):
    assert found([data / "slices" / "*"], tmp_path) == {"s1": "s1.tif", "s2": "s2.tif"}


def test_files_keep_the_folders_in_which_they_differ(data, tmp_path):
    targets = outputs_for([data / "day1" / "a.tif", data / "day2" / "a.tif"], tmp_path)
    assert [t.relative_to(tmp_path).parent.name for t in targets.values()] == ["day1", "day2"]


def test_earlier_results_are_no_inputs(data):
    assert all("day1" not in image.parts for image in outputs_for([data / "**" / "*.tif"], data / "day1"))
    assert "a.tif" in found([data / "day1"], data)  # a folder that only holds the inputs' is no earlier result


def test_results_of_the_same_name_are_refused(data, tmp_path):
    (data / "day1" / "a.png").touch()
    with pytest.raises(InputError, match=r"would both be written to .*a\.tif"):
        outputs_for([data / "day1"], tmp_path)
    with pytest.raises(InputError, match=r"would both be written to .*a\.tif"):
        outputs_for([data / "day1" / "*.tif", data / "day2"], tmp_path)


@pytest.mark.parametrize("given", ["nothing/*.tif", "day2/deep/*.tif", "missing", "slices"])
def test_what_holds_no_image_is_told(data, tmp_path, given):
    with pytest.raises(FileError, match=r"holds no image|does not exist"):
        outputs_for([data / given], tmp_path)


def test_a_folder_of_subfolders_names_the_pattern_that_is_meant(data, tmp_path):
    with pytest.raises(FileError, match=r"holds no image.* quote a pattern: '.*slices/\*\*/\*\.png'"):
        outputs_for([data / "slices"], tmp_path)
