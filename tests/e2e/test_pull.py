"""Models brought from a hub into its cache: against a server that speaks its API, faults included."""

import hashlib
import json
import os
import shutil
import signal
import ssl
import subprocess
import time

import huggingface_hub
import pytest

from conftest import BINARY, ROOT
from hub_server import Hub, git_checksum

REPO = "someone/Words-1"
LLAMA = ROOT / "tests" / "conformance" / "decoders" / "llama"


def model_files():
    return {
        "config.json": (LLAMA / "config.json").read_bytes(),
        "generation_config.json": b"{}",
        "tokenizer_config.json": b'{"bos_token": "<s>"}',
        "model.safetensors": (LLAMA / "model.safetensors").read_bytes(),
        "pytorch_model.bin": b"code",
        "onnx/model.onnx": b"graph",
        "README.md": b"# words",
    }


@pytest.fixture
def make_hub():
    hubs = []

    def make(files=None, large=("model.safetensors",), **more):
        hubs.append(Hub(REPO, files or model_files(), large, **more))
        return hubs[-1]

    yield make
    for hub in hubs:
        hub.stop()


def environment(hub, home, **more):
    names = ("HF_TOKEN", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HTTPS_PROXY", "https_proxy")
    env = {name: value for name, value in os.environ.items() if name not in names}
    return {**env, "HF_HOME": str(home), "HF_ENDPOINT": hub.endpoint, **more}


def pull(hub, home, *flags, model=REPO, **more):
    return subprocess.run([str(BINARY), "pull", model, *flags], env=environment(hub, home, **more), text=True,
                          capture_output=True, timeout=120)


def folder_of(done):
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_brings_the_files_that_a_model_needs_and_no_others(make_hub, tmp_path):
    hub = make_hub()
    folder = folder_of(pull(hub, tmp_path))
    assert sorted(os.listdir(folder)) == ["config.json", "generation_config.json", "model.safetensors",
                                          "tokenizer_config.json"]
    for name in os.listdir(folder):
        data = hub.files[name]
        assert open(f"{folder}/{name}", "rb").read() == data
        checksum = hashlib.sha256(data).hexdigest() if name in hub.large else git_checksum(data)
        assert os.readlink(f"{folder}/{name}") == f"../../blobs/{checksum}"
    assert not [path for path in hub.requests() if "onnx" in path or ".bin" in path or "README" in path]


def test_the_cache_is_huggingface_hubs(make_hub, tmp_path):
    hub = make_hub()
    folder = folder_of(pull(hub, tmp_path))
    cache = tmp_path / "hub"
    assert huggingface_hub.snapshot_download(REPO, cache_dir=cache, local_files_only=True) == folder
    assert huggingface_hub.try_to_load_from_cache(REPO, "config.json", cache_dir=cache) == f"{folder}/config.json"
    info = next(iter(huggingface_hub.scan_cache_dir(cache).repos))
    assert (info.repo_id, info.repo_type, info.nb_files) == (REPO, "model", 4)
    assert not huggingface_hub.scan_cache_dir(cache).warnings


def test_what_is_there_is_not_fetched_again(make_hub, tmp_path):
    hub = make_hub()
    folder = folder_of(pull(hub, tmp_path))
    hub.seen.clear()
    assert folder_of(pull(hub, tmp_path)) == folder
    assert hub.requests() == [f"/api/models/{REPO}/revision/main"]
    assert folder_of(pull(hub, tmp_path, HF_HUB_OFFLINE="1")) == folder
    assert len(hub.seen) == 1


def test_a_new_commit_fetches_what_has_changed(make_hub, tmp_path):
    old = make_hub()
    first = folder_of(pull(old, tmp_path))
    files = {**model_files(), "generation_config.json": b'{"eos_token_id": 2}', "added_tokens.json": b'{"a": 1}'}
    new = make_hub(files)
    second = folder_of(pull(new, tmp_path))
    assert second != first
    assert sorted(new.requests(method="GET")[1:]) == [
        f"/{REPO}/resolve/{new.commit}/{name}" for name in ("added_tokens.json", "generation_config.json")]
    assert folder_of(pull(new, tmp_path, HF_HUB_OFFLINE="1")) == second
    assert folder_of(pull(new, tmp_path, model=f"{REPO}@{old.commit}", HF_HUB_OFFLINE="1")) == first


def test_the_token_goes_to_the_hub_alone(make_hub, tmp_path):
    hub = make_hub(token="hf_secret")
    done = pull(hub, tmp_path)
    assert done.returncode == 1 and "HF_TOKEN" in done.stderr and "401" in done.stderr
    assert "Access to this model is restricted." in done.stderr
    assert pull(hub, tmp_path, HF_TOKEN="hf_other").returncode == 1
    folder_of(pull(hub, tmp_path, HF_TOKEN="hf_secret"))
    assert hub.requests("content")
    shutil.rmtree(tmp_path / "hub")
    (tmp_path / "token").write_text("hf_secret\n")
    folder_of(pull(hub, tmp_path))


def test_shards_are_those_of_the_index(make_hub, tmp_path):
    files = model_files()
    del files["model.safetensors"]
    shards = {f"model-0000{i}-of-00002.safetensors": b"x" * 100 * i for i in (1, 2)}
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    files |= shards | {"model.safetensors.index.json": json.dumps(index).encode(), "consolidated.safetensors": b"y"}
    hub = make_hub(files, shards)
    assert {name for name in os.listdir(folder_of(pull(hub, tmp_path))) if "safetensors" in name} == {
        *shards, "model.safetensors.index.json"}


def test_folders_of_modules_come_along(make_hub, tmp_path):
    modules = [{"idx": 0, "path": ""}, {"idx": 1, "path": "1_Pooling"}, {"idx": 2, "path": "2_Dense"}]
    hub = make_hub({**model_files(), "modules.json": json.dumps(modules).encode(), "1_Pooling/config.json": b"{}",
                    "2_Dense/config.json": b"{ }", "2_Dense/model.safetensors": b"z", "2_Dense/pytorch_model.bin": b"z"})
    folder = folder_of(pull(hub, tmp_path))
    assert open(f"{folder}/2_Dense/model.safetensors").read() == "z"
    assert os.readlink(f"{folder}/1_Pooling/config.json").startswith("../../../blobs/")
    assert os.listdir(f"{folder}/1_Pooling") == ["config.json"]
    assert sorted(os.listdir(f"{folder}/2_Dense")) == ["config.json", "model.safetensors"]


def test_one_gguf_file_of_several(make_hub, tmp_path):
    hub = make_hub({"a-q4.gguf": b"4" * 10, "a-q8.gguf": b"8" * 20, "README.md": b""}, ["a-q4.gguf", "a-q8.gguf"])
    done = pull(hub, tmp_path)
    assert done.returncode == 1 and "a-q4.gguf, a-q8.gguf" in done.stderr and "--file" in done.stderr
    assert os.listdir(folder_of(pull(hub, tmp_path, "--file", "a-q8.gguf"))) == ["a-q8.gguf"]
    done = pull(hub, tmp_path, "--file", "a-q2.gguf")
    assert done.returncode == 1 and "a-q2.gguf" in done.stderr
    assert pull(hub, tmp_path, "--file", "../x.gguf").returncode == 1


def test_formats_that_run_code_are_not_taken(make_hub, tmp_path):
    done = pull(make_hub({"config.json": b"{}", "pytorch_model.bin": b""}), tmp_path)
    assert done.returncode == 1 and "expected safetensors, it has pytorch_model.bin" in done.stderr


def test_a_cut_download_is_continued(make_hub, tmp_path):
    hub = make_hub()
    size = len(hub.files["model.safetensors"])
    hub.faults["model.safetensors"] = [("cut", 1000), 503, 429, ("cut", 500)]
    folder = folder_of(pull(hub, tmp_path))
    assert open(f"{folder}/model.safetensors", "rb").read() == hub.files["model.safetensors"]
    ranges = [headers.get("Range") for server, method, _, headers in hub.seen if server == "content"]
    assert ranges == [None, "bytes=1000-", "bytes=1000-", "bytes=1000-", "bytes=1500-"] and size > 1500


def test_what_an_earlier_run_has_left_is_continued(make_hub, tmp_path):
    hub = make_hub()
    hub.faults["model.safetensors"] = [("cut", 4096)]
    done = pull(hub, tmp_path, "--attempts", "1")
    assert done.returncode == 1 and "bytes before the answer's end" in done.stderr
    assert pull(hub, tmp_path, HF_HUB_OFFLINE="1").returncode == 1
    hub.seen.clear()
    folder = folder_of(pull(hub, tmp_path))
    assert open(f"{folder}/model.safetensors", "rb").read() == hub.files["model.safetensors"]
    assert [headers.get("Range") for server, _, _, headers in hub.seen if server == "content"] == ["bytes=4096-"]


def test_a_killed_run_is_continued(make_hub, tmp_path):
    hub = make_hub()
    hub.faults["model.safetensors"] = [("stall", 4096)]
    process = subprocess.Popen([str(BINARY), "pull", REPO], env=environment(hub, tmp_path), stderr=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL)
    blobs = tmp_path / "hub" / "models--someone--Words-1" / "blobs"
    until = time.monotonic() + 30
    while not any(path.stat().st_size == 4096 for path in blobs.glob("*.incomplete")):
        assert time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    hub.seen.clear()
    folder_of(pull(hub, tmp_path))
    assert [headers.get("Range") for server, _, _, headers in hub.seen if server == "content"] == ["bytes=4096-"]


def test_a_server_without_ranges_is_read_from_the_beginning(make_hub, tmp_path):
    hub = make_hub()
    hub.ranges = False
    hub.faults["model.safetensors"] = [("cut", 5000)]
    folder = folder_of(pull(hub, tmp_path))
    assert open(f"{folder}/model.safetensors", "rb").read() == hub.files["model.safetensors"]


def test_a_wrong_checksum_is_fetched_once_more_and_then_refused(make_hub, tmp_path):
    for name in ("model.safetensors", "config.json"):
        hub = make_hub()
        hub.faults[name] = [("wrong",)]
        done = pull(hub, tmp_path / name)
        assert "its checksum is wrong" in done.stderr
        assert open(f"{folder_of(done)}/{name}", "rb").read() == hub.files[name]
        hub.faults[name] = [("wrong",), ("wrong",)]
        done = pull(hub, tmp_path / (name + "-twice"))
        assert done.returncode == 1 and f"{name}: expected the checksum" in done.stderr
        assert not list((tmp_path / (name + "-twice")).rglob("snapshots/*/" + name))


def test_what_a_wrong_partial_file_spoils_is_fetched_anew(make_hub, tmp_path):
    hub = make_hub()
    data = hub.files["model.safetensors"]
    blobs = tmp_path / "hub" / "models--someone--Words-1" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / (hashlib.sha256(data).hexdigest() + ".incomplete")).write_bytes(b"\0" * 3000)
    folder = folder_of(pull(hub, tmp_path))
    assert open(f"{folder}/model.safetensors", "rb").read() == data


def test_a_busy_hub_is_asked_again_and_not_for_ever(make_hub, tmp_path):
    hub = make_hub()
    hub.listing_faults = [429, 500]
    folder_of(pull(hub, tmp_path))
    hub.listing_faults = [503] * 10
    done = pull(hub, tmp_path, "--attempts", "2")
    assert done.returncode == 1 and "503" in done.stderr and len(hub.listing_faults) == 8


def test_a_silent_server_is_given_up(make_hub, tmp_path):
    hub = make_hub()
    hub.faults["config.json"] = [("stall", 3)]
    done = pull(hub, tmp_path, "--attempts", "1", HF_HUB_DOWNLOAD_TIMEOUT="1")
    assert done.returncode == 1 and "took too long" in done.stderr


def test_what_is_not_there_is_told(make_hub, tmp_path):
    hub = make_hub()
    done = pull(hub, tmp_path, model=f"{REPO}@v9")
    assert done.returncode == 1 and "there is no such revision" in done.stderr
    done = pull(hub, tmp_path, model="someone/other")
    assert done.returncode == 1 and "'someone/other'" in done.stderr and "no such model" in done.stderr
    done = pull(hub, tmp_path, model="not a name")
    assert done.returncode == 1 and "ORG/NAME" in done.stderr
    done = pull(hub, tmp_path, HF_HUB_OFFLINE="1")
    assert done.returncode == 1 and "HF_HUB_OFFLINE" in done.stderr
    hub.stop()
    done = pull(hub, tmp_path, "--attempts", "1")
    assert done.returncode == 1 and "connect" in done.stderr


def test_a_renamed_model_is_found_where_it_is_now(make_hub, tmp_path):
    hub = make_hub(token="hf_secret")
    hub.moved = True
    folder = folder_of(pull(hub, tmp_path, HF_TOKEN="hf_secret"))
    assert open(f"{folder}/model.safetensors", "rb").read() == hub.files["model.safetensors"]


def test_answers_in_chunks_are_read(make_hub, tmp_path):
    hub = make_hub()
    hub.chunked = True
    folder = folder_of(pull(hub, tmp_path))
    for name in os.listdir(folder):
        assert open(f"{folder}/{name}", "rb").read() == hub.files[name]


def test_redirects_end(make_hub, tmp_path):
    hub = make_hub()
    hub.loop = True
    done = pull(hub, tmp_path)
    assert done.returncode == 1 and "more than 10 redirects" in done.stderr and len(hub.seen) == 11


@pytest.mark.parametrize("name", ["../config.json", "/etc/passwd", "a/../../b.safetensors", "a\\b", ""])
def test_names_that_lead_elsewhere_are_refused(make_hub, tmp_path, name):
    hub = make_hub()
    hub.extra_names = [name]
    done = pull(hub, tmp_path)
    assert done.returncode == 1 and "leads elsewhere" in done.stderr
    assert not (tmp_path / "hub").exists()


def test_an_index_that_leads_elsewhere_is_refused(make_hub, tmp_path):
    index = {"weight_map": {"a": "../../../x.safetensors"}}
    hub = make_hub({"config.json": b"{}", "model.safetensors.index.json": json.dumps(index).encode()})
    done = pull(hub, tmp_path)
    assert done.returncode == 1 and "x.safetensors" in done.stderr


def test_a_model_beyond_the_limit_is_refused_before_its_bytes(make_hub, tmp_path):
    hub = make_hub()
    done = pull(hub, tmp_path, "--bytes-max", "10000")
    assert done.returncode == 1 and "limit" in done.stderr and not hub.requests("content")


def test_two_processes_bring_a_file_once(make_hub, tmp_path):
    hub = make_hub()
    env = environment(hub, tmp_path)
    both = [subprocess.Popen([str(BINARY), "pull", REPO], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert outputs[0][0] == outputs[1][0]
    assert len(hub.requests("content", "GET")) == 1


def test_certificates_are_checked(make_hub, tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate,
                    "-days", "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"], check=True,
                   capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    hub = make_hub(large=(), tls=context)
    done = pull(hub, tmp_path / "a")
    assert done.returncode == 1 and "not trusted" in done.stderr
    folder = folder_of(pull(hub, tmp_path / "a", SSL_CERT_FILE=str(certificate)))
    assert open(f"{folder}/model.safetensors", "rb").read() == hub.files["model.safetensors"]
    hub.endpoint = hub.endpoint.replace("localhost", "127.0.0.1")
    done = pull(hub, tmp_path / "b", SSL_CERT_FILE=str(certificate))
    assert done.returncode == 1 and "not trusted" in done.stderr


def test_an_encrypted_hub_may_not_lead_to_a_plain_server(make_hub, tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate,
                    "-days", "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"], check=True,
                   capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    done = pull(make_hub(tls=context), tmp_path, SSL_CERT_FILE=str(certificate))
    assert done.returncode == 1 and "not encrypted" in done.stderr
