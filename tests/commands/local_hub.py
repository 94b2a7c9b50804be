"""A Hub of one's own, in memory: as much of the real one's protocol as pipelines need."""

import base64
import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "hf_of_a_test"
COMMIT = "0" * 39


class LocalHub:
    """Repositories by name; ``commits`` counts what was pushed."""

    def __init__(self):
        self.repositories = {}
        self.requests = []

    def create(self, name, *, private, files=()):
        self.repositories[name] = {"private": private, "files": dict(files), "commits": 0}

    def files(self, name):
        return self.repositories[name]["files"]

    def answer(self, method, path, body, is_known):
        """Status, headers and content of the answer to a request."""
        self.requests.append((method, path))
        if path == "/api/validate-yaml":
            return 200, {}, {"errors": [], "warnings": []}
        if path == "/api/repos/create":
            return self._created(json.loads(body), is_known)
        parts = path.partition("?")[0].strip("/").split("/")
        name = "/".join(parts[2:4] if parts[:2] == ["api", "models"] else parts[:2])
        found = self.repositories.get(name)
        if found is None or (found["private"] and not is_known):
            return 404, {"X-Error-Code": "RepoNotFound"}, {"error": "Repository not found"}
        sha = f"{COMMIT}{found['commits']}"
        if parts[:2] != ["api", "models"]:
            return self._file(found["files"].get("/".join(parts[4:])), sha)
        if "preupload" in parts:
            wanted = json.loads(body)["files"]
            modes = {"uploadMode": "regular", "shouldIgnore": False, "oid": None}
            return 200, {}, {"files": [{"path": one["path"], **modes} for one in wanted]}
        if "commit" in parts:
            return self._committed(found, name, body)
        if "tree" in parts:
            return 200, {}, [_listed(path, data) for path, data in found["files"].items()]
        siblings = [{"rfilename": path} for path in found["files"]]
        told = {"id": name, "sha": sha, "private": found["private"], "siblings": siblings}
        return 200, {}, told | {"tags": [], "downloads": 0, "likes": 0}

    def _created(self, wanted, is_known):
        if not is_known:
            return 401, {}, {"error": "Invalid username or password."}
        if wanted["organization"] != "me":
            return 403, {}, {"error": "You don't have the rights to create a model here"}
        name = f"{wanted['organization']}/{wanted['name']}"
        private = wanted.get("private", wanted.get("visibility") != "public")
        self.create(name, private=private, files={".gitattributes": b""})
        return 200, {}, {"url": f"https://huggingface.co/{name}", "name": name}

    def _committed(self, found, name, body):
        for line in map(json.loads, body.decode().splitlines()):
            value = line["value"]
            if line["key"] == "file":
                found["files"][value["path"]] = base64.b64decode(value["content"])
            if line["key"] == "deletedFile":
                del found["files"][value["path"]]
        found["commits"] += 1
        sha = f"{COMMIT}{found['commits']}"
        told = {"commitUrl": f"https://huggingface.co/{name}/commit/{sha}", "commitOid": sha}
        return 200, {}, told | {"success": True}

    def _file(self, data, sha):
        if data is None:
            return 404, {"X-Error-Code": "EntryNotFound"}, {"error": "Entry not found"}
        return 200, {"X-Repo-Commit": sha, "ETag": f'"{_oid(data)}"'}, data


def _oid(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _listed(path, data):
    return {"type": "file", "path": path, "size": len(data), "oid": _oid(data)}


def _handler(hub):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answered(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            is_known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
            status, headers, content = hub.answer(self.command, self.path, body, is_known)
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for key, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        do_GET = do_HEAD = do_POST = _answered

        def log_message(self, *_):
            pass

    return Handler


@contextmanager
def local_hub(patch, cache):
    """A hub that this process takes for the Hugging Face Hub; nothing leaves the machine.

    Args:
        patch: pytest's monkeypatch.
        cache: a folder for what is downloaded.
    """
    from huggingface_hub import constants, file_download

    hub = LocalHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    patch.setattr(constants, "ENDPOINT", endpoint)
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    # before 1.0, a copy of its own, made when it was imported
    patch.setattr(file_download, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
    patch.setattr(constants, "HF_HUB_CACHE", str(cache))
    patch.setenv("HF_TOKEN", TOKEN)
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
