"""``incontext-seg propagate``, as a person types it."""

import json

import numpy as np
import pytest
import tifffile

from napari_incontext_seg.cli.main import main
from napari_incontext_seg.cli.propagate import parse_numbers, parse_span


@pytest.fixture
def job(tmp_path):
    """A stack of bright discs that drift, with its first slice annotated; returns the folder."""
    rows, columns = np.mgrid[:40, :40]
    noise = np.random.default_rng(0)
    image = np.zeros((5, 40, 40), np.uint8)
    labels = np.zeros((5, 40, 40), np.uint8)
    for z in range(5):
        disc = ((rows - 12 - z) ** 2 + (columns - 20) ** 2 < 60) | ((rows - 30) ** 2 + (columns - 8 - z) ** 2 < 30)
        image[z] = np.where(disc, 160, 60) + noise.integers(0, 20, (40, 40))
        labels[z] = disc * 3
    tifffile.imwrite(
        tmp_path / "image.tif", image, imagej=True, resolution=(4, 4), metadata={"axes": "ZYX", "unit": "um"}
    )
    tifffile.imwrite(tmp_path / "truth.tif", labels)
    tifffile.imwrite(tmp_path / "labels.tif", np.where(np.arange(5)[:, None, None] == 0, labels, 0).astype(np.uint8))
    return tmp_path


def run(folder, *arguments, image="image.tif", labels="labels.tif", out="out.tif"):
    return main(
        ["propagate", str(folder / image), "--labels", str(folder / labels), "--out", str(folder / out), *arguments]
    )


def test_one_annotated_slice_gives_all(job, capsys):
    assert run(job, "--truth", str(job / "truth.tif")) == 0
    said = capsys.readouterr().out
    assert "5 slices (1 annotated)" in said
    assert float(said.split("Dice against the truth: ")[1].split()[0]) > 0.95
    assert "least sure: " in said
    out, truth = tifffile.imread(job / "out.tif"), tifffile.imread(job / "truth.tif")
    assert out.dtype == np.uint8
    np.testing.assert_array_equal(out[0], truth[0])
    assert set(np.unique(out)) == {0, 3}
    assert (out == truth).mean() > 0.97
    confidence = tifffile.imread(job / "out_confidence.tif")
    assert confidence.shape == out.shape
    assert (confidence[0] == 1).all()
    assert (job / "out.png").exists()


def test_a_few_labels_of_one_piece_each_are_said_to_be_taken_for_classes(job, capsys):
    labels = tifffile.imread(job / "labels.tif")
    labels[0, 25:] *= 2
    tifffile.imwrite(job / "two.tif", labels)
    assert run(job, "--model", "guess", labels="two.tif", out="two_out.tif") == 0
    assert "taken for classes; if each is one object, say --kind instance" in capsys.readouterr().err
    assert run(job, "--model", "guess", out="one_out.tif") == 0
    assert "taken for classes" not in capsys.readouterr().err


def test_spacing_and_axes_of_the_input_are_kept(job):
    run(job)
    with tifffile.TiffFile(job / "out.tif") as tif:
        assert tif.series[0].axes == "ZYX"
        x = tif.pages[0].tags["XResolution"].value
        assert x[0] / x[1] == pytest.approx(4)


def test_json_report(job, capsys):
    assert run(job, "--json", "--no-picture") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["complete"]
    assert report["annotated"] == [0]
    assert set(report["confidence"]) == {"1", "2", "3", "4"}
    assert not (job / "out.png").exists()


@pytest.mark.parametrize("quality", ["fast", "balanced", "best"])
def test_quality_is_recorded(job, quality):
    assert run(job, "--model", "guess", "--quality", quality, "--no-picture") == 0
    out, truth = tifffile.imread(job / "out.tif"), tifffile.imread(job / "truth.tif")
    assert (out == truth).mean() > 0.95
    assert json.loads((job / "out.json").read_text())["settings"]["quality"] == quality


def test_the_home_folder_is_meant_by_a_tilde(job, monkeypatch):
    monkeypatch.setenv("HOME", str(job))
    monkeypatch.setenv("USERPROFILE", str(job))
    monkeypatch.chdir(job)
    assert main(["propagate", "~/image.tif", "--labels", "~/labels.tif", "--out=~/home.tif", "--model", "guess"]) == 0
    assert {"home.tif", "home_confidence.tif", "home.json", "home.png"} <= {path.name for path in job.iterdir()}
    assert not (job / "~").exists()


def test_only_the_annotated_slices_as_labels_with_their_numbers(job):
    truth = tifffile.imread(job / "truth.tif")
    tifffile.imwrite(job / "two.tif", truth[[1, 4]])
    assert run(job, "--annotated", "1,4", labels="two.tif") == 0
    np.testing.assert_array_equal(tifffile.imread(job / "out.tif")[4], truth[4])


def test_scribbles_with_an_ignore_label(job):
    truth = tifffile.imread(job / "truth.tif")
    scribbles = np.zeros_like(truth)  # 0 = not annotated, 1 = background, 2 = object
    scribbles[0, 12, :] = truth[0, 12, :] // 3 + 1
    scribbles[0, 30, :20] = truth[0, 30, :20] // 3 + 1
    tifffile.imwrite(job / "scribbles.tif", scribbles)
    assert run(job, "--ignore-label", "0", labels="scribbles.tif") == 0
    out = tifffile.imread(job / "out.tif")
    assert set(np.unique(out)) == {1, 2}
    assert ((out == 2) == (truth > 0)).mean() > 0.9


def test_an_ignore_label_that_is_nowhere_is_said(job, capsys):
    told = "no annotated pixel has the label 7 (--ignore-label): every pixel is taken for annotated"
    assert run(job, "--model", "guess", "--ignore-label", "7") == 0
    assert told in capsys.readouterr().err
    arguments = [str(job / "image.tif"), "--labels", str(job / "labels.tif"), "--ignore-label"]
    assert main(["examples", "make", *arguments, "7", "--out", str(job / "a")]) == 0
    assert told in capsys.readouterr().err
    assert main(["examples", "make", *arguments, "3", "--annotated", "0", "--out", str(job / "b")]) == 0
    assert "--ignore-label" not in capsys.readouterr().err


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(("name", "doubted"), [("image.tif", True), ("truth.tif", False)])
def test_an_image_given_as_labels_is_doubted_whatever_the_command(job, capsys, name, doubted):
    image, labels = str(job / "image.tif"), str(job / name)
    commands = {
        "out.tif": ["propagate", image, "--labels", labels, "--model", "guess"],
        "judged.tif": ["propagate", image, "--labels", str(job / "labels.tif"), "--model", "guess", "--truth", labels],
        "tracks.tif": ["track", "--masks", labels],
        "clean.tif": ["clean", labels, "--do", "join"],
        "set.incontext": ["examples", "make", image, "--labels", labels],
    }
    for out, command in commands.items():
        assert main([*command, "--out", str(job / out)]) == 0
        assert (f"{name} looks like an image, not like labels" in capsys.readouterr().err) == doubted


def test_where_every_slice_is_annotated_it_is_said_that_nothing_was_painted(job, capsys):
    told = "every slice is annotated: nothing was painted"
    assert run(job, "--model", "guess", labels="truth.tif") == 0
    assert told in capsys.readouterr().out
    scribbles = np.where(tifffile.imread(job / "truth.tif") > 0, 2, 1).astype(np.uint8)
    scribbles[:, :, ::2] = 0
    tifffile.imwrite(job / "scribbles.tif", scribbles)
    assert run(job, "--model", "guess", "--ignore-label", "0", labels="scribbles.tif", out="s.tif") == 0
    assert told not in capsys.readouterr().out


def test_a_range_leaves_other_slices_empty(job):
    assert run(job, "--range", "2:4") == 0
    out = tifffile.imread(job / "out.tif")
    assert [bool(plane.any()) for plane in out] == [False, False, True, True, False]


def test_an_existing_output_is_refused_before_any_work(job, capsys):
    (job / "out.tif").write_text("precious")
    assert run(job) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert (job / "out.tif").read_text() == "precious"
    assert run(job, "--overwrite") == 0


def test_control_c_leaves_finished_slices(job, monkeypatch, capsys):
    from napari_incontext_seg.infer import closed_form

    bind, seen = closed_form.ClosedFormPredictor.bind, []

    def bind_then_interrupt(self, context):
        segment = bind(self, context)

        def interrupted(plane):
            if len(seen) == 2:
                raise KeyboardInterrupt
            seen.append(1)
            return segment(plane)

        return interrupted

    monkeypatch.setattr(closed_form.ClosedFormPredictor, "bind", bind_then_interrupt)
    assert run(job) == 1
    assert "stopped" in capsys.readouterr().err
    out = tifffile.imread(job / "out.tif")
    assert [bool(plane.any()) for plane in out] == [True, True, True, False, False]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--annotated", "9"], "slice 9 does not exist: image has slices 0..4"),
        (["--annotated", "3"], "--annotated names slice 3, where there is no label; there are labels in slice 0."),
        (["--range", "3:99"], "the range must lie within 0:5"),
        (["--model", "nonsense"], "no model or file 'nonsense'"),
        (["--model", "guess", "--ensemble", "spatial"], "ensembles feature or none"),
        (["--channels", "5"], "channels must be one to three of 0..0"),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_code_1(job, capsys, arguments, message):
    assert run(job, *arguments) == 1
    said = capsys.readouterr().err
    assert message in said
    assert said.strip().count("\n") == 0
    assert not (job / "out.tif").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--annotated", "3,a"], "--annotated must be numbers such as 0,15 or 20:23; got '3,a'. ("),
        (["--annotated", "1,6-8"], "got '1,6-8'. 6-8 is written 6:9: the end is excluded."),
        (["--range", "2-3"], "got '2-3'. 2-3 is written 2:4: the end is excluded."),
        (["--quality", "slow"], "Invalid value for '--quality': 'slow' is not one of 'fast'"),
        (["--channels", ","], "--channels must be numbers"),
        (["--range", "7"], "--range must be a:b"),
        (["--tune", "abc"], "--tune must be a time"),
        (["--device", "abacus"], "unknown device 'abacus'"),
    ],
)
def test_values_that_cannot_be_read_are_wrong_usage(job, capsys, arguments, message):
    assert run(job, *arguments) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.strip().count("\n") == 0
    assert not (job / "out.tif").exists()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((5, 40, 40), np.uint8), "no slice of the labels has any label"),
        (np.ones((5, 20, 20), np.uint8), "labels must match the image"),
        (np.ones((2, 40, 40), np.uint8), "the labels have 2 slices and the image has 5"),
        (-np.ones((5, 40, 40), np.int16), "must not be negative"),
        (np.full((5, 40, 40), 0.5, np.float32), "whole numbers"),
    ],
)
def test_labels_that_do_not_fit(job, capsys, labels, message):
    tifffile.imwrite(job / "bad.tif", labels)
    assert run(job, labels="bad.tif") == 1
    assert message in capsys.readouterr().err


def test_label_slices_and_numbers_that_do_not_match_are_counted(job, capsys):
    tifffile.imwrite(job / "three.tif", tifffile.imread(job / "truth.tif")[:3], photometric="minisblack")
    assert run(job, "--annotated", "0,2", labels="three.tif") == 1
    assert "error: 3 label slices, but 2 numbers in --annotated (0,2): give one number" in capsys.readouterr().err


def test_an_output_without_extension_was_perhaps_meant_to_be_a_file(job, capsys):
    meant = "error: out has no extension, so it was taken for a folder: did you mean out.tif? No image in "
    assert run(job, out="out") == 1
    assert meant in capsys.readouterr().err
    (job / "out").mkdir()
    assert run(job, out="out") == 1
    assert "error: no image in " in capsys.readouterr().err


def test_a_missing_or_broken_image(job, capsys):
    assert run(job, image="nothing.tif") == 1
    assert "nothing.tif" in capsys.readouterr().err
    (job / "broken.tif").write_bytes((job / "image.tif").read_bytes()[:100])
    assert run(job, image="broken.tif") == 1
    assert "broken.tif" in capsys.readouterr().err


def test_wrong_usage_is_exit_code_2(capsys):
    assert main(["propagate"]) == 2
    assert main(["no-such-command"]) == 2
    assert main(["propagate", "a.tif", "--labels", "b.tif", "--out", "c.tif", "--direction", "up"]) == 2
    assert "up" in capsys.readouterr().err


def test_debug_shows_the_traceback(job):
    from napari_incontext_seg.errors import InputError

    with pytest.raises(InputError):
        run(job, "--annotated", "9", "--debug")


def test_numbers_and_ranges_are_read():
    assert parse_numbers("0,15,20:23", "--annotated") == [0, 15, 20, 21, 22]
    assert parse_span("3:7") == (3, 7)


def test_how_it_was_made_names_files_and_annotated_slices_but_no_folders(job):
    assert run(job, "--model", "guess") == 0
    text = (job / "out.json").read_text()
    record = json.loads(text)
    assert record["files"] == {"image": "image.tif", "labels": "labels.tif"}
    assert record["annotated_slices"] == [0]
    assert str(job) not in text


def test_a_run_goes_on_whatever_its_files_are_called(job, capsys):
    quick = ("--model", "guess", "--quality", "fast")
    assert run(job, *quick) == 0
    (job / "image.tif").rename(job / "renamed.tif")
    assert run(job, *quick, "--resume", image="renamed.tif") == 0
    assert "is finished already" in capsys.readouterr().out


def test_resume_begins_goes_on_and_says_when_all_is_done(job, capsys, monkeypatch):
    from napari_incontext_seg.session import job as running

    quick = ("--model", "guess", "--quality", "fast", "--resume")
    painted = []
    finished = running.finished

    def stop(step):
        painted.append(step.position)
        if painted == [0, 1, 2]:
            raise KeyboardInterrupt
        return finished(step)

    monkeypatch.setattr(running, "finished", stop)
    assert run(job, *quick) == 1
    assert (job / "out.tif").exists()
    assert run(job, *quick) == 0
    assert painted == [0, 1, 2, 3, 4]
    assert "5 slices (1 annotated)" in capsys.readouterr().out
    assert run(job, *quick) == 0
    told = capsys.readouterr()
    assert "is finished already: there is nothing to resume" in told.out
    assert told.err.strip() == ""  # no empty bar
    assert run(job, *quick, "--memory", "2") == 1
    assert "made by another run: memory was 0, and is 2" in capsys.readouterr().err
    monkeypatch.undo()
    assert run(job, *quick[:-1], out="whole.tif") == 0
    np.testing.assert_array_equal(tifffile.imread(job / "out.tif"), tifffile.imread(job / "whole.tif"))
    whole = tifffile.imread(job / "whole_confidence.tif")
    np.testing.assert_array_equal(tifffile.imread(job / "out_confidence.tif"), whole)


@pytest.mark.parametrize(
    ("options", "out", "message"),
    [
        (["--overwrite"], "out.tif", "leave one out"),
        (["--approximate"], "out.tif", "leave one of both out"),
        ([], "folder", "`incontext-seg batch --resume`"),
    ],
)
def test_what_cannot_be_resumed_is_told(job, capsys, options, out, message):
    assert run(job, "--resume", *options, out=out) == 1
    assert message in capsys.readouterr().err


def test_both_sides_of_a_gap_meet(job, capsys):
    truth = tifffile.imread(job / "truth.tif")
    tifffile.imwrite(job / "ends.tif", truth[[0, 4]])
    arguments = ("--annotated", "0,4", "--truth", str(job / "truth.tif"), "--direction", "meet", "--memory", "1")
    assert run(job, *arguments, labels="ends.tif") == 0
    assert float(capsys.readouterr().out.split("Dice against the truth: ")[1].split()[0]) > 0.95
    assert json.loads((job / "out.json").read_text())["settings"]["direction"] == "meet"
    assert run(job, *arguments, "--resume", labels="ends.tif") == 0
    assert "finished already" in capsys.readouterr().out
    assert run(job, *arguments[:-4], "--resume", labels="ends.tif") != 0  # other settings


def test_labels_that_are_names_are_filled_in_where_a_slice_lacks_them(job):
    truth = tifffile.imread(job / "truth.tif")
    image = tifffile.imread(job / "image.tif")
    left = np.indices((40, 40))[1] < 16
    named = np.where(truth > 0, np.where(left, 2, 1), 0).astype(np.uint8)  # the left disc is another, darker object
    image[named == 2] -= 50
    tifffile.imwrite(job / "image.tif", image, imagej=True, metadata={"axes": "TYX"})
    first, last = np.where(named[0] == 1, 1, 0), np.where(named[4] == 2, 2, 0)
    tifffile.imwrite(job / "few.tif", np.stack([first, last]).astype(np.uint8))
    assert run(job, "--annotated", "0,4", "--names", "--model", "guess", labels="few.tif") == 0
    found = tifffile.imread(job / "out.tif")
    for z in range(5):
        for i in (1, 2):
            assert ((found[z] == i) & (named[z] == i)).sum() > 0.7 * (named[z] == i).sum()


def test_of_objects_it_is_said_that_their_numbers_are_of_one_slice(job, capsys):
    assert run(job, "--model", "guess", "--kind", "instance") == 0
    assert "out.tif --out TRACKS.tif" in capsys.readouterr().out
    assert run(job, "--model", "guess", "--kind", "instance", "--range", "0:1", out="one.tif") == 0
    said = capsys.readouterr().out
    assert "1 slice (1 annotated)" in said
    assert "track --masks" not in said
