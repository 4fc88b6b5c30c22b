"""tritonclient, unmodified, in its three forms, against every call that it offers and that the server promises."""

import asyncio
import concurrent.futures
import json
import urllib.error
import urllib.request

import numpy as np
import pytest
import tritonclient.grpc as grpc_client
import tritonclient.grpc.aio as grpc_aio
import tritonclient.http as http_client
import tritonclient.http.aio as http_aio
from conftest import GRAPHS, repository
from tritonclient.utils import InferenceServerException

MODELS = {"tower": GRAPHS / "batch_norm_tower_ts13.onnx", "norms": GRAPHS / "norm_variants_ts17.onnx"}


@pytest.fixture(scope="module")
def server(start, tmp_path_factory):
    folder = repository(tmp_path_factory.mktemp("clients"), MODELS)
    return start(folder, "--model-control-mode", "explicit", "--load-model", "tower", "--load-model", "norms")


@pytest.fixture
def http(server):
    with http_client.InferenceServerClient(server.http, concurrency=4) as client:
        yield client


@pytest.fixture
def grpc(server):
    with grpc_client.InferenceServerClient(server.grpc) as client:
        yield client


def tower_input(module, rows, seed=0, binary=True):
    values = np.random.default_rng(seed).standard_normal((rows, 13)).astype(np.float32)
    tensor = module.InferInput("dense", [rows, 13], "FP32")
    if module in (http_client, http_aio):
        tensor.set_data_from_numpy(values, binary_data=binary)
    else:
        tensor.set_data_from_numpy(values)
    return tensor


def output_name(http):
    return http.get_model_metadata("tower")["outputs"][0]["name"]


def test_health_and_metadata_over_http(http):
    assert http.is_server_live() and http.is_server_ready() and http.is_model_ready("tower")
    assert not http.is_model_ready("absent")
    server = http.get_server_metadata()
    assert server["name"] and "binary_tensor_data" in server["extensions"] and "statistics" in server["extensions"]
    model = http.get_model_metadata("tower")
    assert model["versions"] == ["1"] and model["inputs"][0] == {"name": "dense", "datatype": "FP32", "shape": [-1, 13]}
    config = http.get_model_config("tower")
    assert config["name"] == "tower" and isinstance(config["max_batch_size"], int)


def test_health_and_metadata_over_grpc(grpc):
    assert grpc.is_server_live() and grpc.is_server_ready() and grpc.is_model_ready("tower", "1")
    assert grpc.get_server_metadata().name
    model = grpc.get_model_metadata("tower")
    assert [list(i.shape) for i in model.inputs] == [[-1, 13]]
    assert grpc.get_model_config("tower").config.name == "tower"


def test_json_binary_and_grpc_give_the_same_bits(http, grpc):
    name = output_name(http)
    asked = [http_client.InferRequestedOutput(name, binary_data=False)]
    as_json = http.infer("tower", [tower_input(http_client, 3, binary=False)], outputs=asked).as_numpy(name)
    as_binary = http.infer("tower", [tower_input(http_client, 3)]).as_numpy(name)
    as_grpc = grpc.infer("tower", [tower_input(grpc_client, 3)]).as_numpy(name)
    np.testing.assert_array_equal(as_json, as_binary)
    np.testing.assert_array_equal(as_binary, as_grpc)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compressed_bodies_both_ways(http, algorithm):
    plain = http.infer("tower", [tower_input(http_client, 64)])
    packed = http.infer("tower", [tower_input(http_client, 64)], request_compression_algorithm=algorithm,
                        response_compression_algorithm=algorithm)
    name = output_name(http)
    np.testing.assert_array_equal(plain.as_numpy(name), packed.as_numpy(name))


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compressed_messages_over_grpc(grpc, algorithm):
    plain = grpc.infer("tower", [tower_input(grpc_client, 64)])
    packed = grpc.infer("tower", [tower_input(grpc_client, 64)], compression_algorithm=algorithm)
    name = plain.get_response().outputs[0].name
    np.testing.assert_array_equal(plain.as_numpy(name), packed.as_numpy(name))


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_a_grpc_message_that_inflates_beyond_the_limit_is_refused(grpc, algorithm):
    rows = (80 << 20) // (13 * 4)  # 80 MiB of zeros, some 80 KiB as sent; the limit is 64 MiB
    tensor = grpc_client.InferInput("dense", [rows, 13], "FP32")
    tensor.set_data_from_numpy(np.zeros([rows, 13], np.float32))
    with pytest.raises(InferenceServerException) as refused:
        grpc.infer("tower", [tensor], compression_algorithm=algorithm)
    assert "RESOURCE_EXHAUSTED" in str(refused.value.status()) and "longer than" in str(refused.value)
    assert grpc.is_server_live()


def test_a_row_has_the_same_bits_alone_and_among_concurrent_requests(server, http):
    name = output_name(http)
    alone = [http.infer("tower", [tower_input(http_client, 1, seed)]).as_numpy(name) for seed in range(32)]
    with http_client.InferenceServerClient(server.http, concurrency=16) as many:
        pending = [many.async_infer("tower", [tower_input(http_client, 1, seed)]) for seed in range(32)]
        for expected, job in zip(alone, pending):
            np.testing.assert_array_equal(job.get_result().as_numpy(name), expected)


def test_a_request_of_more_rows_than_a_step_joins_is_answered_whole(http):
    assert http.get_model_config("tower")["max_batch_size"] < 700
    name = output_name(http)
    whole = http.infer("tower", [tower_input(http_client, 700)]).as_numpy(name)
    assert whole.shape[0] == 700
    values = np.random.default_rng(0).standard_normal((700, 13)).astype(np.float32)
    part = http_client.InferInput("dense", [100, 13], "FP32")
    part.set_data_from_numpy(values[600:])
    np.testing.assert_array_equal(http.infer("tower", [part]).as_numpy(name), whole[600:])


def test_request_id_and_version_come_back(http, grpc):
    answer = http.infer("tower", [tower_input(http_client, 1)], request_id="r-17", model_version="1").get_response()
    assert answer["id"] == "r-17" and answer["model_version"] == "1"
    assert grpc.infer("tower", [tower_input(grpc_client, 1)], request_id="r-18").get_response().id == "r-18"


def test_asyncio_over_http_and_grpc(server):
    async def run():
        async with http_aio.InferenceServerClient(server.http) as client:
            answers = await asyncio.gather(*[client.infer("tower", [tower_input(http_aio, 2, s)]) for s in range(8)])
            assert len(answers) == 8
        async with grpc_aio.InferenceServerClient(server.grpc) as client:
            answers = await asyncio.gather(*[client.infer("tower", [tower_input(grpc_aio, 2, s)]) for s in range(8)])
            assert len(answers) == 8 and await client.is_server_ready()

    asyncio.run(run())


def test_grpc_streaming_answers_every_request_in_order(server):
    done = concurrent.futures.Future()
    seen = []

    def callback(result, error):
        seen.append(error or result.get_response().id)
        if len(seen) == 10:
            done.set_result(None)

    with grpc_client.InferenceServerClient(server.grpc) as client:
        client.start_stream(callback)
        for index in range(10):
            client.async_stream_infer("tower", [tower_input(grpc_client, 1, index)], request_id=str(index))
        done.result(30)
        client.stop_stream()
    assert seen == [str(i) for i in range(10)]


def test_a_bad_request_on_a_stream_is_an_error_message_and_the_stream_lives(server):
    done = concurrent.futures.Future()
    seen = []

    def callback(result, error):
        seen.append(error if error else "ok")
        if len(seen) == 2:
            done.set_result(None)

    with grpc_client.InferenceServerClient(server.grpc) as client:
        client.start_stream(callback)
        client.async_stream_infer("absent", [tower_input(grpc_client, 1)])
        client.async_stream_infer("tower", [tower_input(grpc_client, 1)])
        done.result(30)
        client.stop_stream()
    assert isinstance(seen[0], InferenceServerException) and seen[1] == "ok"


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_errors_name_what_was_expected_and_what_came(server, http, grpc, protocol):
    client, module = (http, http_client) if protocol == "http" else (grpc, grpc_client)
    with pytest.raises(InferenceServerException, match="absent"):
        client.infer("absent", [tower_input(module, 1)])
    wrong_width = module.InferInput("dense", [1, 12], "FP32")
    wrong_width.set_data_from_numpy(np.zeros((1, 12), np.float32))
    with pytest.raises(InferenceServerException, match="13"):
        client.infer("tower", [wrong_width])
    wrong_type = module.InferInput("dense", [1, 13], "FP64")
    wrong_type.set_data_from_numpy(np.zeros((1, 13)))
    with pytest.raises(InferenceServerException, match="FP32"):
        client.infer("tower", [wrong_type])
    wrong_name = module.InferInput("sparse", [1, 13], "FP32")
    wrong_name.set_data_from_numpy(np.zeros((1, 13), np.float32))
    with pytest.raises(InferenceServerException, match="sparse|dense"):
        client.infer("tower", [wrong_name])
    with pytest.raises(InferenceServerException, match="nothing"):
        client.infer("tower", [tower_input(module, 1)], outputs=[module.InferRequestedOutput("nothing")])
    assert client.is_server_live()


def test_repository_index_unload_and_load(http):
    index = {row["name"]: row for row in http.get_model_repository_index()}
    assert index["norms"]["state"] == "READY"
    http.unload_model("norms")
    assert not http.is_model_ready("norms") and http.is_server_live()
    http.load_model("norms")
    assert http.is_model_ready("norms")


def test_statistics_count_what_was_answered(http, grpc):
    before = http.get_inference_statistics("tower")["model_stats"][0]
    for _ in range(5):
        http.infer("tower", [tower_input(http_client, 2)])
    after = http.get_inference_statistics("tower")["model_stats"][0]
    assert after["inference_stats"]["success"]["count"] - before["inference_stats"]["success"]["count"] == 5
    assert after["inference_count"] - before["inference_count"] == 10
    assert grpc.get_inference_statistics("tower").model_stats[0].inference_count == after["inference_count"]


def test_metrics_have_triton_names_and_count_refusals(server, http):
    http.infer("tower", [tower_input(http_client, 1)])
    with urllib.request.urlopen(f"http://{server.metrics}/metrics") as answer:
        text = answer.read().decode()
    for name in ("nv_inference_request_success", "nv_inference_count", "nv_inference_exec_count",
                 "nv_inference_request_duration_us", "nv_inference_queue_duration_us"):
        assert f'{name}{{model="tower",version="1"}}' in text, name


def post(server, path, body, headers=None):
    request = urllib.request.Request(f"http://{server.http}{path}", data=body, headers=headers or {}, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


def test_an_expired_deadline_is_refused_with_its_reason(server):
    body = json.dumps({"parameters": {"timeout": 1}, "inputs": [
        {"name": "dense", "shape": [1, 13], "datatype": "FP32", "data": [0.0] * 13}]}).encode()
    status, headers, answer = post(server, "/v2/models/tower/infer", body)
    assert status in (503, 504) and "error" in json.loads(answer)
    assert any("deadline" in value for value in headers.values())


@pytest.mark.parametrize("path, body, status", [
    ("/v2/models/tower/infer", b"{", 400),
    ("/v2/models/tower/infer", b"[" * 5000, 400),
    ("/v2/models/tower/infer", b'{"inputs": [{"name": "dense", "shape": [4611686018427387904, 16], '
     b'"datatype": "FP32", "data": []}]}', 400),
    ("/v2/models/tower/infer", b'{"inputs": [{"name": "dense", "shape": [-1, 13], "datatype": "FP32", "data": []}]}',
     400),
    ("/v2/models/..%2Ftower/infer", b"{}", 404),
    ("/v2/nothing", b"{}", 404),
    ("/v2/cudasharedmemory/region/x/register", b"{}", 501),
])
def test_refusals_are_clear_and_the_server_lives(server, path, body, status):
    code, _, answer = post(server, path, body)
    assert code == status and json.loads(answer)["error"]
    assert server.status("/v2/health/live") == 200
