"""Models in Python: arrays in and out, errors, threads, text."""

import gc
import threading
import weakref

import numpy as np
import pytest
import sluice
from conftest import DEMO, GRAPHS
from graph_inputs import inputs as make_inputs


def click_inputs(rows, seed=0):
    return make_inputs(DEMO / "click" / "1" / "model.onnx", {"*": rows}, seed)


def test_outputs_agree_with_onnx_runtime(click):
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(
        str(DEMO / "click" / "1" / "model.onnx"), providers=["CPUExecutionProvider"]
    )
    for rows in (1, 7, 600):
        feed = click_inputs(rows, rows)
        ours = click.run(feed)["click_probability"]
        (theirs,) = session.run(None, feed)
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
        assert ours.dtype == np.float32 and ours.shape == (rows, 1)


@pytest.mark.parametrize("name", ["mmoe_ts13", "bert_encoder_dynamo19", "text_convolution_ts14", "top_and_gather_ts17"])
def test_every_output_comes_in_the_files_order(name):
    path = GRAPHS / f"{name}.onnx"
    model = sluice.Model(path)
    answer = model.run(make_inputs(path, {"*": 6}, 1))
    assert list(answer) == [each.name for each in model.outputs]


def test_metadata_is_that_of_the_file(click):
    assert [each.name for each in click.inputs] == ["ids", "dense"]
    assert click.inputs[0].dtype == "INT64" and click.inputs[0].shape == ("batch", 10)
    assert click.outputs[0] == ("click_probability", "FP32", ("batch", 1))
    joined, why = click.batching
    assert joined and "rows" in why
    assert click.opset == 17 and "pytorch" in click.producer and click.weights_bytes > 0
    assert "click" in repr(click)


def test_outputs_asked_for_come_alone():
    path = GRAPHS / "two_tower_cosine_ts14.onnx"
    model = sluice.Model(path)
    wanted = model.outputs[1].name
    assert list(model.run(make_inputs(path, {"*": 3}, 1), [wanted])) == [wanted]


def test_a_row_has_the_same_bits_alone_and_in_a_batch(click):
    feed = click_inputs(64)
    together = click.run(feed)["click_probability"]
    for row in (0, 13, 63):
        alone = click.run({key: value[row : row + 1] for key, value in feed.items()})
        assert alone["click_probability"][0, 0].tobytes() == together[row, 0].tobytes()


def test_threads_do_not_change_the_bits(encoder):
    texts = ["a program that draws graphs of measured data"] * 64
    two = sluice.Model(DEMO / "package_encoder" / "1", threads=2)
    assert encoder.run(texts)["embedding"].tobytes() == two.run(texts)["embedding"].tobytes()


def test_an_output_owns_its_memory(click):
    feed = click_inputs(32)
    first = click.run(feed)["click_probability"]
    kept = first.copy()
    click.run(click_inputs(32, seed=9))
    del click
    gc.collect()
    np.testing.assert_array_equal(first, kept)
    first[:] = 0  # and may be written


def test_a_packed_array_is_read_where_it_lies_and_let_go_of(click):
    class Watched(np.ndarray):
        pass

    feed = click_inputs(16)
    watched = feed["dense"].view(Watched)
    gone = weakref.ref(watched)
    expected = click.run(feed)["click_probability"]
    np.testing.assert_array_equal(click.run({**feed, "dense": watched})["click_probability"], expected)
    del watched
    gc.collect()
    assert gone() is None


def test_strided_arrays_and_lists_are_taken(click):
    feed = click_inputs(8)
    expected = click.run(feed)["click_probability"]
    wide = np.zeros((8, 6), np.float32)
    wide[:, ::2] = feed["dense"]
    strided = {"ids": np.asfortranarray(feed["ids"]), "dense": wide[:, ::2]}
    np.testing.assert_array_equal(click.run(strided)["click_probability"], expected)
    lists = {key: value.tolist() for key, value in feed.items()}
    np.testing.assert_allclose(click.run(lists)["click_probability"], expected, rtol=1e-6)


class Exporter:
    """Only DLPack, as another framework's tensor has it."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **flags):
        return self.array.__dlpack__()

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def test_dlpack_goes_in_and_out_without_a_copy(click):
    feed = click_inputs(8)
    expected = click.run(feed)["click_probability"]
    exported = {key: Exporter(value) for key, value in feed.items()}
    answer = click.run(exported)["click_probability"]
    np.testing.assert_array_equal(answer, expected)
    again = np.from_dlpack(answer)
    assert again.ctypes.data == answer.ctypes.data


def test_a_strided_dlpack_tensor_is_refused(click):
    feed = click_inputs(8)
    wide = np.zeros((8, 6), np.float32)
    with pytest.raises(sluice.InvalidArgumentError, match="'dense' is strided"):
        click.run({"ids": feed["ids"], "dense": Exporter(wide[:, ::2])})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dense": np.zeros((4, 3), np.float64)}, "'dense' has datatype FP64, expected FP32"),
        ({"dense": np.zeros((4, 4), np.float32)}, r"'dense' has shape \[4, 4\], expected"),
        ({"dense": np.zeros((5, 3), np.float32)}, "rows"),
        ({"dense": np.zeros((4, 3), np.complex64)}, "complex64"),
        ({"dense": np.zeros((4, 3), ">f4")}, ">f4"),
        ({"other": np.zeros((4, 3), np.float32)}, "no input 'other'"),
        ({"ids": np.full((4, 10), 10**6, np.int64)}, "outside|out of range|10000"),
    ],
)
def test_wrong_inputs_are_refused_in_our_words(click, change, message):
    with pytest.raises(sluice.InvalidArgumentError, match=message) as caught:
        click.run({**click_inputs(4), **change})
    assert isinstance(caught.value, sluice.Error) and isinstance(caught.value, ValueError)


def test_a_missing_input_is_named(click):
    with pytest.raises(sluice.InvalidArgumentError, match="'dense'.*missing"):
        click.run({"ids": click_inputs(4)["ids"]})
    with pytest.raises(TypeError, match="mapping by name"):
        click.run(click_inputs(4)["ids"])


def test_files_that_are_no_models_are_refused(tmp_path):
    with pytest.raises(sluice.NotFoundError, match="nowhere"):
        sluice.Model(tmp_path / "nowhere.onnx")
    assert issubclass(sluice.NotFoundError, FileNotFoundError)
    (tmp_path / "bad.onnx").write_bytes(b"not a model")
    with pytest.raises(sluice.Error):
        sluice.Model(tmp_path / "bad.onnx")
    with pytest.raises(sluice.InvalidArgumentError, match="batching"):
        sluice.Model(DEMO / "click" / "1", batching="sometimes")
    with pytest.raises(sluice.InvalidArgumentError, match="int8"):
        sluice.Model(DEMO / "click" / "1", weights="int3")


def test_weights_in_fewer_bits_take_less_memory_and_answer_alike():
    full = sluice.Model(DEMO / "package_encoder" / "1")
    small = sluice.Model(DEMO / "package_encoder" / "1", weights="bf16")
    assert small.weights_bytes < full.weights_bytes
    texts = ["a program that draws graphs", "mail server"]
    a, b = (model.run(texts)["embedding"] for model in (full, small))
    assert np.all((a * b).sum(1) > 0.99)


def test_text_is_taken_where_there_is_a_tokenizer(encoder):
    assert encoder.takes_text
    vectors = encoder.run({"text": ["draws graphs", "plots data", "mail server"]})["embedding"]
    assert vectors.shape == (3, 256)
    np.testing.assert_allclose((vectors**2).sum(1), 1, rtol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]
    one = encoder.run("plots data")["embedding"]
    np.testing.assert_allclose(one[0], vectors[1], rtol=1e-4, atol=1e-5)
    with pytest.raises(sluice.InvalidArgumentError, match="takes str or bytes, got int"):
        encoder.run({"text": [1]})


def test_threads_run_side_by_side(encoder):
    texts = ["a program that draws graphs"] * 4
    expected = encoder.run(texts)["embedding"]
    wrong = []

    def work():
        for _ in range(5):
            if not np.array_equal(encoder.run(texts)["embedding"], expected):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_gil_is_free_while_a_model_runs(encoder):
    # A thread that needs the GIL gets on while another is inside run: it stops the loop of runs.
    stop = threading.Event()
    runs = []

    def work():
        while not stop.is_set():
            encoder.run(["words " * 60] * 16)
            runs.append(1)

    thread = threading.Thread(target=work)
    thread.start()
    while not runs:
        pass  # spins with the GIL: a run that kept it could not end otherwise than by switches
    stop.set()
    thread.join(timeout=60)
    assert not thread.is_alive()
