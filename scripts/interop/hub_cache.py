"""One cache for both: a hub on the loopback address serves a checkpoint; NextMem fetches it and Python's tools load it by name
without a network, then the other way round, each with a cache of its own.

usage: hub_cache.py NEXTMEM CHECKPOINT     like target/release/nextmem datasets/nano-backbone
needs: torch, transformers, huggingface_hub; exit code 0 and two lines `ok` where both work
"""
import hashlib, http.server, json, os, pathlib, subprocess, sys, tempfile, threading

nextmem, folder = sys.argv[1], pathlib.Path(sys.argv[2])
REPO, COMMIT = "lab/checkpoint", "0123456789abcdef0123456789abcdef01234567"
FILES = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def checksum(name):
    large = name.endswith(".safetensors")
    return hashlib.sha256(FILES[name]).hexdigest() if large else hashlib.sha1(b"blob %d\0" % len(FILES[name]) + FILES[name]).hexdigest()


def sibling(name):
    lfs = {"lfs": {"sha256": checksum(name), "size": len(FILES[name]), "pointerSize": 134}} if name.endswith(".safetensors") else {}
    return {"rfilename": name, "size": len(FILES[name]), "blobId": checksum(name) if not lfs else "0" * 40, **lfs}


class Hub(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.split("?")[0]
        if path.startswith(f"/api/models/{REPO}/tree/"):
            body = json.dumps([{"type": "file", "path": name, "oid": sibling(name)["blobId"], "size": len(FILES[name]),
                                **({"lfs": {"oid": checksum(name), **sibling(name)["lfs"]}} if "lfs" in sibling(name) else {})}
                               for name in FILES]).encode()
            headers = {"Content-Type": "application/json"}
        elif path.startswith(f"/api/models/{REPO}"):
            body = json.dumps({"id": REPO, "modelId": REPO, "sha": COMMIT, "tags": [], "private": False, "downloads": 0,
                               "siblings": [sibling(name) for name in FILES]}).encode()
            headers = {"Content-Type": "application/json"}
        else:
            name = path.rsplit("/", 1)[-1]
            if name not in FILES:
                self.send_response(404)
                self.send_header("X-Error-Code", "EntryNotFound")
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("Content-Length", "0")
                return self.end_headers()
            body, headers = FILES[name], {"ETag": f'"{checksum(name)}"', "X-Repo-Commit": COMMIT}
        self.send_response(200)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
threading.Thread(target=server.serve_forever, daemon=True).start()
endpoint = f"http://127.0.0.1:{server.server_port}"


def run(command, home, **more):
    variables = {key: value for key, value in os.environ.items() if not key.upper().startswith("HF_") and not key.lower().endswith("_proxy")}
    subprocess.run(command, check=True, env={**variables, "HF_HOME": home, "HF_HUB_DISABLE_XET": "1", **more})


def same(home):
    snapshot = pathlib.Path(home, "hub", "models--lab--checkpoint", "snapshots", COMMIT)
    assert FILES["model.safetensors"] == (snapshot / "model.safetensors").read_bytes()


with tempfile.TemporaryDirectory() as home:
    run([nextmem, "fetch", REPO], home, HF_ENDPOINT=endpoint)
    load = f"from transformers import AutoModelForCausalLM as M; M.from_pretrained({REPO!r}); print('loaded')"
    run([sys.executable, "-c", load], home, HF_HUB_OFFLINE="1")
    same(home)
    print("ok: fetched by nextmem, loaded by transformers")
with tempfile.TemporaryDirectory() as home:
    get = f"from huggingface_hub import snapshot_download; snapshot_download({REPO!r})"
    run([sys.executable, "-c", get], home, HF_ENDPOINT=endpoint)
    run([nextmem, "verify", REPO], home, HF_HUB_OFFLINE="1")
    same(home)
    print("ok: downloaded by huggingface_hub, verified by nextmem")
