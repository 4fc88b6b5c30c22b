"""Small graphs of PyTorch's exporters, served over HTTP and gRPC, agree with ONNX Runtime to 1e-4 relative."""

import numpy as np
import onnxruntime
import pytest
import tritonclient.grpc
import tritonclient.http
from conftest import GRAPHS, repository
from graph_inputs import declared, inputs

MODELS = {path.stem: path for path in sorted(GRAPHS.glob("*.onnx"))}


@pytest.fixture(scope="module")
def server(start, tmp_path_factory):
    return start(repository(tmp_path_factory.mktemp("graphs"), MODELS))


def ask(module, client, name, path, feed):
    kinds = {n: kind for n, _, kind, *_ in declared(path)}
    tensors = []
    for key, value in feed.items():
        tensor = module.InferInput(key, list(value.shape), kinds[key])
        tensor.set_data_from_numpy(value)
        tensors.append(tensor)
    return client.infer(name, tensors)


def test_there_are_at_least_thirty_graphs():
    assert len(MODELS) >= 30


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_agrees_with_onnx_runtime(server, name, protocol):
    path = MODELS[name]
    module = tritonclient.http if protocol == "http" else tritonclient.grpc
    client = module.InferenceServerClient(server.http if protocol == "http" else server.grpc)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for seed, (batch, size) in enumerate(((1, 3), (3, 5), (8, 8))):
        feed = inputs(path, {"batch": batch, "*": size}, seed)
        expected = session.run(None, feed)
        answer = ask(module, client, name, path, feed)
        for output, want in zip(session.get_outputs(), expected):
            got = answer.as_numpy(output.name)
            assert got.shape == want.shape and got.dtype == want.dtype
            if np.issubdtype(want.dtype, np.floating):
                np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
            else:
                np.testing.assert_array_equal(got, want)
    client.close()
