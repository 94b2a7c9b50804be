"""Checkpoints are judged, whatever made them and whatever scores them."""

import shutil

import pytest
import torch

from paramdiff.storage import read_json, read_tensors


def test_evaluate_judges_two_folders(call, tiny_run, tmp_path):
    originals, out = tmp_path / "originals", tmp_path / "out"
    originals.mkdir()
    base = read_tensors(tiny_run / "zoo" / "base.safetensors")
    for path in sorted((tiny_run / "zoo" / "checkpoints").iterdir()):
        torch.save(base | read_tensors(path), originals / f"{path.stem}.pt")
    status, stdout, stderr = call(
        *(
            "compare",
            tiny_run / "generated",
            "--originals",
            originals,
            "--task",
            "digits",
            "--out",
            out,
        ),
        *("--select", "norm[23].weight", "--select", "norm[23].bias", "--num-held-out", 4),
    )
    assert (status, stderr) == (0, "")
    assert stdout.rstrip().endswith(f"Report: {out / 'report.html'}")
    assert (out / "report.html").is_file()
    found, expected = read_json(out / "evaluation.json"), read_json(tiny_run / "evaluation.json")
    for group in ("original", "generated", "held_out"):
        mean = expected["groups"][group]["score"]["mean"]
        assert found["groups"][group]["score"]["mean"] == pytest.approx(mean, abs=1e-3)
        assert found["groups"][group]["n"] == expected["groups"][group]["n"]
    assert found["reconstruction"] is None
    assert not list(tmp_path.rglob(".partial*"))


@pytest.mark.usefixtures("without_figures")
def test_evaluate_completes_parts_from_a_base(call, tiny_run, tmp_path):
    """A zoo's own files hold the selected tensors alone."""
    parts, out = tiny_run / "zoo" / "checkpoints", tmp_path / "out"
    given = ("compare", tiny_run / "generated", "--originals", parts, "--task", "digits")
    given += ("--out", out)
    status, _, stderr = call(*given)
    assert status == 2 and "conv1.weight" in stderr and not out.exists()
    status, _, stderr = call(*given, "--base-checkpoint", tiny_run / "zoo" / "base.safetensors")
    assert (status, stderr) == (0, "")
    found, expected = read_json(out / "evaluation.json"), read_json(tiny_run / "evaluation.json")
    assert found["groups"]["generated"]["n"] == expected["groups"]["generated"]["n"]


@pytest.mark.usefixtures("without_figures")
def test_evaluate_takes_a_zoo(call, tiny_run, tmp_path):
    out = tmp_path / "out"
    before = {path: path.stat().st_mtime_ns for path in tiny_run.rglob("*")}
    status, _, stderr = call(
        *("compare", tiny_run / "generated", "--originals", tiny_run / "zoo"),
        *("--task", "digits", "--out", out),
    )
    assert (status, stderr) == (0, "")
    found, expected = read_json(out / "evaluation.json"), read_json(tiny_run / "evaluation.json")
    assert found["groups"]["generated"] == expected["groups"]["generated"]
    assert {path: path.stat().st_mtime_ns for path in tiny_run.rglob("*")} == before


def mean_of_norm3(state_dict):
    """A scoring function: a number."""
    return float(state_dict["norm3.weight"].mean())


def positive_of_norm3(state_dict):
    """A scoring function: what is right."""
    return state_dict["norm3.weight"] > 0.9


def of_split(state_dict, split):
    """A scoring function of two splits."""
    return mean_of_norm3(state_dict) * (2 if split == "validation" else 1)


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize(
    ("options", "is_shared"),
    [
        (("--score-fn", "mean_of_norm3"), True),
        (("--score-fn", "positive_of_norm3"), True),
        (("--score-fn", "of_split"), False),
        (("--score-fn", "mean_of_norm3", "--score-validation", "of_split"), False),
    ],
)
def test_whether_selection_and_report_share_data_is_recorded(
    call, tiny_run, tmp_path, options, is_shared
):
    options = [one if one[0] == "-" else f"{__name__}:{one}" for one in options]
    status, stdout, stderr = call(
        *("compare", tiny_run, "--originals", tiny_run, "--out", tmp_path / "out", *options),
    )
    assert (status, stderr) == (0, "")
    score = read_json(tmp_path / "out" / "evaluation.json")["score_info"]
    assert score["selects_on_test"] == is_shared
    assert score["is_per_example"] == ("positive" in options[1])
    assert f"Judged: {tiny_run / 'generated'}" in stdout
    assert f"Originals: {tiny_run / 'zoo'}" in stdout
    lines = stdout.splitlines()
    told = next(i for i, line in enumerate(lines) if line.startswith("The originals score "))
    assert lines[told].endswith(f"by {options[1]}: does your training log say so?")
    assert not any(line.startswith("evaluating") for line in lines[:told])


def test_evaluate_of_other_networks_names_both(refused, tiny_run, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    torch.save({"layer.weight": torch.ones(3), "layer.bias": torch.ones(2)}, other / "0.pt")
    told = refused(
        *("compare", other, "--originals", tiny_run, "--task", "digits"),
        *("--out", tmp_path / "out"),
    )
    assert "it holds layer.weight, layer.bias, but needs norm2.weight" in told
    assert told.endswith("are these of one network?")


def test_what_can_be_refused_at_once_is(refused, tiny_run, tmp_path):
    """Before the user's code is run."""
    given = ("--score-fn", "never:imported")
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").touch()
    parts = tiny_run / "generated"
    for verb, told in (
        (("compare", parts, "--originals", parts), "there: this exists already"),
        (("fit", parts), "there: the folder is neither empty nor a run"),
    ):
        new, there = ("--out", tmp_path / "new"), ("--out", tmp_path / "there")
        assert "--device: " in refused(*verb, *new, *given, "--device", "gpu")
        assert told in refused(*verb, *there, *given)
        assert "nothing.*" in refused(*verb, *new, *given, "--select", "nothing.*")


def failing(state_dict):
    raise ValueError("no such\nthing")


def odd(state_dict):
    return "text"


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize("score", ["mean_of_norm3", "positive_of_norm3"])
def test_evaluate_by_a_users_function(call, tiny_run, tmp_path, score):
    """Of two runs' checkpoints, with equal names."""
    judged, out = tmp_path / "judged", tmp_path / "out"
    for number, path in enumerate(sorted((tiny_run / "generated").glob("*.safetensors"))):
        place = judged / f"run{number % 2}" / f"{number // 2}.safetensors"
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    status, _, stderr = call(
        *("compare", judged, "--originals", tiny_run / "zoo", "--out", out),
        *("--score-fn", f"{__name__}:{score}", "--copy-best", 4),
    )
    assert (status, stderr) == (0, "")
    function = globals()[score]
    scores = {
        path.relative_to(judged).as_posix(): torch.as_tensor(function(read_tensors(path)))
        for path in judged.rglob("*.safetensors")
    }
    values = {name: float(found.float().mean()) for name, found in scores.items()}
    found = read_json(out / "evaluation.json")
    mean = sum(values.values()) / len(values)
    assert found["groups"]["generated"]["score"]["mean"] == pytest.approx(mean, rel=1e-5)
    assert (found["groups"]["generated"]["pairwise_similarity"] is None) == (score[0] == "m")
    best = read_json(out / "best" / "validation.json")
    assert len(best) == 4 and {name: values[name] for name in best} == pytest.approx(best)
    assert min(best.values()) >= sorted(values.values())[-4] - 1e-6
    for name in best:
        assert (out / "best" / name).read_bytes() == (judged / name).read_bytes()
    assert "random" not in found["groups"]


@pytest.mark.slow
def test_evaluate_on_a_users_images_with_a_librarys_network(call, tmp_path):
    import timm
    from PIL import Image

    for split in ("train", "test"):
        for number, name in enumerate("ab"):
            folder = tmp_path / "images" / split / name
            folder.mkdir(parents=True)
            for index in range(6):
                color = (40 * index, 255 * number, 9)
                Image.new("RGB", (8, 8), color).save(folder / f"{index}.png")
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=2)
    for folder, num in (("originals", 5), ("generated", 3)):
        (tmp_path / folder).mkdir()
        for number in range(num):
            for parameter in network.get_classifier().parameters():
                parameter.data += 0.1 * torch.randn_like(parameter)
            torch.save(network.state_dict(), tmp_path / folder / f"{number}.pth")
    status, _, stderr = call(
        *("compare", tmp_path / "generated", "--originals", tmp_path / "originals"),
        *("--data", f"imagefolder:{tmp_path / 'images'}", "--network", "timm:test_resnet"),
        *("--image-size", 32, "--out", tmp_path / "out", "--device", "cpu"),
    )
    assert (status, stderr) == (0, "")
    assert read_json(tmp_path / "out" / "evaluation.json")["num_test"] == 12


def test_what_evaluate_needs_is_said(refused, tiny_run, tmp_path):
    given = ("compare", tiny_run / "generated", "--originals", tiny_run / "zoo")
    given += ("--out", tmp_path / "out")
    assert refused(*given) == "expected one of --task, --data and --score-fn"
    assert "one of" in refused(*given, "--task", "digits", "--score-fn", "a:b")
    assert "brings its own" in refused(*given, "--task", "digits", "--network", "timm:resnet18")
    assert "'nothing:at_all'" in refused(*given, "--score-fn", "nothing:at_all")
    assert "there are 6" in refused(*given, "--task", "digits", "--copy-best", 7)
    told = refused(*given, "--score-fn", f"{__name__}:failing")
    assert "failing' failed: ValueError: no such thing (" in told and "test_compare.py:" in told
    assert refused(*given, "--score-fn", "judge.score").startswith(
        "--score-fn: expected module:function"
    )
    assert "neither in" in refused(
        *given, "--score-validation", "no:such", "--score-fn", f"{__name__}:odd"
    )
    assert "beside it" in refused(*given, "--task", "digits", "--score-validation", "a:b")
    assert "no vectors" in refused(*given, "--task", "digits", "--standardize")
    told = refused(*given, "--score-fn", f"{__name__}:odd")
    assert told.endswith("return a number, or bool [E] of what is right, but returned 'text'")


@pytest.mark.usefixtures("without_figures")
def test_evaluate_tells_what_lies_beside_the_checkpoints(call, tiny_run, tmp_path):
    folders = {}
    for name in ("zoo/checkpoints", "generated"):
        folder = folders[name] = tmp_path / name
        shutil.copytree(tiny_run / name, folder)
        torch.save({"last_epoch": 1}, folder / "scheduler.pt")
    status, stdout, stderr = call(
        *("compare", folders["generated"], "--originals", folders["zoo/checkpoints"]),
        *("--base-checkpoint", tiny_run / "zoo/base.safetensors", "--task", "digits"),
        *("--out", tmp_path / "out"),
    )
    assert (status, stderr) == (0, "")
    told = "scheduler.pt (training state)"
    assert f"Skipped among what is judged: {told}" in stdout
    assert f"Skipped among the originals: {told}" in stdout
