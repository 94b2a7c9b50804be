"""Downloads arrive whole or not at all; a missing or damaged file is one clear line."""

import shutil
import threading
import urllib.error
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from paramdiff.errors import UserError
from paramdiff.tasks import download
from paramdiff.tasks.registry import build_task
from paramdiff.tasks.task_settings import TaskSettings

from .formats import WRITERS, md5_of, packed, write_image

datasets = pytest.importorskip("torchvision.datasets")


def built(name, root):
    return build_task(
        TaskSettings(name=name, root=root, network={"name": "resnet20"}, image_size=32)
    )


def refusal(name, root):
    with pytest.raises(UserError) as caught:
        built(name, root)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr("urllib.request.urlopen", refuse)


@pytest.fixture
def server(monkeypatch):
    """A web server on this machine: its files by name, and how many bytes of each it sends."""

    class Handler(BaseHTTPRequestHandler):
        files, asked, cut_at = {}, [], None

        def do_GET(self):
            content = self.files[self.path.lstrip("/")]
            self.asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(content[: self.cut_at])))
            self.end_headers()
            self.wfile.write(content[: self.cut_at])

        def log_message(self, *args):
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    Handler.address = f"http://127.0.0.1:{httpd.server_port}"
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield Handler
    httpd.shutdown()
    httpd.server_close()


def archive_of_cifar10(folder, monkeypatch):
    """The published archive of a tiny CIFAR-10, whose checksum torchvision is told."""
    made = folder / "made"
    WRITERS["cifar10"](made, monkeypatch)
    packed(made / "cifar-10-python.tar.gz", made, "cifar-10-batches-py")
    shutil.rmtree(made / "cifar-10-batches-py")
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", md5_of(made / "cifar-10-python.tar.gz"))
    return made / "cifar-10-python.tar.gz"


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        (
            "cifar10",
            ["cifar-10-batches-py/data_batch_1", "cifar-10-python.tar.gz (md5 c58f3"],
        ),
        ("cifar100", ["cifar-100-python/train", "cifar-100-python.tar.gz (md5 eb9058c3a3"]),
        ("cifar10_10k", ["cifar-10-batches-py/data_batch_1", "cifar-10-python.tar.gz (md5 c58f3"]),
        ("mnist", ["train-images-idx3-ubyte:", "MNIST/raw/t10k-labels-idx1-ubyte.gz (md5 ec29"]),
        ("svhn", ["train_32x32.mat", "test_32x32.mat (md5 eb5a983be6"]),
        ("stl10", ["stl10_binary/train_X.bin", "stl10_binary.tar.gz (md5 91f7769df0"]),
        ("flowers102", ["flowers-102/jpg", "flowers-102/102flowers.tgz (md5 5280899986"]),
        ("pets", ["oxford-iiit-pet/images", "oxford-iiit-pet/annotations.tar.gz (md5 95a8c909b"]),
        ("food101", ["food-101/images", "food-101.tar.gz (md5 85eeb15f37"]),
    ],
)
def test_without_a_network_a_missing_set_says_what_to_put_where(name, wanted, tmp_path):
    message = refusal(name, tmp_path)
    assert str(tmp_path) in message and "Name or service not known" in message
    for part in wanted:
        assert part in message
    assert names_in(tmp_path) == []


@pytest.mark.usefixtures("no_network")
def test_without_a_root_the_cache_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "CACHE", tmp_path / "cache")
    assert f"into {tmp_path / 'cache'}" in refusal("cifar10", None)


@pytest.mark.usefixtures("no_network")
def test_a_root_must_exist(tmp_path):
    message = refusal("cifar10", tmp_path / "nowhere")
    assert "there is no folder with CIFAR-10" in message
    assert names_in(tmp_path) == []


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("cifar10", "cifar-10-batches-py/data_batch_3"),
        ("cifar100", "cifar-100-python/test"),
        ("svhn", "test_32x32.mat"),
        ("stl10", "stl10_binary/train_X.bin"),
        ("flowers102", "flowers-102/setid.mat"),
        ("mnist", "MNIST/raw/t10k-labels-idx1-ubyte.gz"),
    ],
)
def test_a_damaged_file_is_named_with_its_checksum(name, file, tmp_path, monkeypatch):
    WRITERS[name](tmp_path, monkeypatch)
    path = tmp_path / file
    good = md5_of(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    message = refusal(name, tmp_path)
    assert message == (
        f"{path}: damaged: its md5 is {md5_of(path)}, not {good}; remove it to have it "
        "downloaded again"
    )
    assert path.read_bytes() == content


@pytest.mark.usefixtures("no_network")
def test_a_damaged_file_without_a_checksum(tmp_path, monkeypatch):
    WRITERS["mnist"](tmp_path, monkeypatch)
    built("mnist", tmp_path)
    path = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:1000])
    assert refusal("mnist", tmp_path).startswith(f"{tmp_path}: MNIST cannot be read: ")
    WRITERS["food101"](tmp_path, monkeypatch)
    (tmp_path / "food-101" / "meta" / "train.json").write_text("{")
    assert "Food-101 cannot be read: " in refusal("food101", tmp_path)


@pytest.mark.usefixtures("no_network")
def test_an_archive_in_the_folder_is_used_without_a_network(tmp_path, monkeypatch):
    root = archive_of_cifar10(tmp_path, monkeypatch).parent
    before = (root / "cifar-10-python.tar.gz").read_bytes()
    first = built("cifar10", root)
    assert names_in(root) == ["cifar-10-batches-py", "cifar-10-python.tar.gz"]
    assert (root / "cifar-10-python.tar.gz").read_bytes() == before
    (root / "cifar-10-python.tar.gz").unlink()
    assert built("cifar10", root).test.inputs[:].equal(first.test.inputs[:])


@pytest.mark.usefixtures("no_network")
def test_a_damaged_archive_is_left_alone(tmp_path, monkeypatch):
    path = archive_of_cifar10(tmp_path, monkeypatch)
    path.write_bytes(path.read_bytes()[:-1])
    assert refusal("cifar10", path.parent).startswith(f"{path}: damaged: its md5 is ")
    assert names_in(path.parent) == [path.name]


@pytest.mark.usefixtures("no_network")
def test_files_that_are_there_already_stay(tmp_path, monkeypatch):
    """Flowers' lists are published beside its archive, and both are read."""
    WRITERS["flowers102"](tmp_path, monkeypatch)
    folder = tmp_path / "flowers-102"
    packed(folder / "102flowers.tgz", folder, "jpg")
    table = dict(datasets.Flowers102._file_dict)
    table["image"] = ("102flowers.tgz", md5_of(folder / "102flowers.tgz"))
    monkeypatch.setattr(datasets.Flowers102, "_file_dict", table)
    monkeypatch.setitem(download_sums(), "102flowers.tgz", table["image"][1])
    shutil.rmtree(folder / "jpg")
    task = built("flowers102", tmp_path)
    assert len(task.test) == 102
    assert names_in(folder) == ["102flowers.tgz", "imagelabels.mat", "jpg", "setid.mat"]
    assert not any(path.is_symlink() for path in folder.iterdir())


def download_sums():
    from paramdiff.tasks import public

    return public.FLOWERS_MD5


# ---- over a network


def test_a_download_is_verified_and_arrives_whole(tmp_path, monkeypatch, server, capfd):
    archive = archive_of_cifar10(tmp_path, monkeypatch)
    server.files[archive.name] = archive.read_bytes()
    monkeypatch.setattr(datasets.CIFAR10, "url", f"{server.address}/{archive.name}")
    monkeypatch.setattr(download, "CACHE", tmp_path / "cache")
    server.cut_at = 1000
    assert "cannot be downloaded" in refusal("cifar10", None)
    assert names_in(tmp_path / "cache") == []
    server.cut_at = None
    built("cifar10", None)
    assert names_in(tmp_path / "cache") == ["cifar-10-batches-py"]
    assert "100%" in capfd.readouterr().err  # the progress
    del server.asked[:]
    built("cifar10", None)
    assert server.asked == []


def test_what_a_killed_download_left_is_never_data(tmp_path, monkeypatch, server):
    archive = archive_of_cifar10(tmp_path, monkeypatch)
    server.files[archive.name] = archive.read_bytes()
    monkeypatch.setattr(datasets.CIFAR10, "url", f"{server.address}/{archive.name}")
    root = tmp_path / "root"
    left = root / ".partial-CIFAR-10" / "cifar-10-batches-py"
    left.mkdir(parents=True)
    (left / "data_batch_1").write_bytes(b"half")
    write_image(left.parent / "junk.jpg", 1)
    built("cifar10", root)
    assert names_in(root) == ["cifar-10-batches-py"]
    assert "junk.jpg" not in names_in(root / "cifar-10-batches-py")


def test_half_of_a_set_is_completed(tmp_path, monkeypatch, server):
    WRITERS["svhn"](tmp_path, monkeypatch)
    splits = dict(datasets.SVHN.split_list)
    for name, (_, file, md5) in list(splits.items()):
        splits[name] = [f"{server.address}/{file}", file, md5]
    monkeypatch.setattr(datasets.SVHN, "split_list", splits)
    server.files["test_32x32.mat"] = (tmp_path / "test_32x32.mat").read_bytes()
    (tmp_path / "test_32x32.mat").unlink()
    built("svhn", tmp_path)
    assert names_in(tmp_path) == ["test_32x32.mat", "train_32x32.mat"]
    assert not (tmp_path / "train_32x32.mat").is_symlink()
    assert set(server.asked) == {"/test_32x32.mat"}
