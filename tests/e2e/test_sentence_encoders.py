"""Encoders served from their checkpoints: embeddings and scores, beside what the reference gave."""

import shutil
import threading

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

from expected import ENCODERS, of_encoder as expected, texts_of

EMBEDDERS = ["minilm", "bert_dense", "roberta", "xlm_roberta", "modernbert"]
RERANKERS = ["bert_reranker", "roberta_classes", "xlm_roberta_reranker", "modernbert_reranker"]


@pytest.fixture(scope="module")
def server(tmp_path_factory, start):
    models = tmp_path_factory.mktemp("models")
    for model in EMBEDDERS + RERANKERS:
        shutil.copytree(ENCODERS / model, models / model / "1",
                        ignore=shutil.ignore_patterns("expected.*"))
    for form in ("bf16", "int8"):
        shutil.copytree(models / "minilm" / "1", models / f"minilm_{form}" / "1")
        (models / f"minilm_{form}" / "config.pbtxt").write_text(
            f'parameters {{ key: "weights" value {{ string_value: "{form}" }} }}\n')
    # Steps of few rows: a request takes many of them.
    shutil.copytree(models / "minilm" / "1", models / "narrow" / "1")
    (models / "narrow" / "config.pbtxt").write_text(
        'parameters { key: "step_tokens_max" value { string_value: "16" } }\n')
    return start(models)


@pytest.fixture(scope="module")
def client(server):
    return tritonclient.http.InferenceServerClient(server.http, concurrency=8)


def words(name, values, module=tritonclient.http):
    tensor = module.InferInput(name, [len(values)], "BYTES")
    tensor.set_data_from_numpy(np.array(values, dtype=object))
    return tensor


def numbers(name, values):
    values = np.asarray(values, np.int64)
    tensor = tritonclient.http.InferInput(name, values.shape, "INT64")
    tensor.set_data_from_numpy(values)
    return tensor


def embed(client, model, values, **parameters):
    return client.infer(model, [words("text", values)], parameters=parameters).as_numpy("embedding")


def cosines(a, b):
    return (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


@pytest.mark.parametrize("model", EMBEDDERS)
def test_embeds_as_sentence_transformers(client, model):
    answer = client.infer(model, [words("text", texts_of(model)["texts"])])
    np.testing.assert_allclose(answer.as_numpy("embedding"), expected(model, "embedding"), atol=2e-4)
    assert answer.get_response()["parameters"]["prompt_tokens"] == len(expected(model, "ids"))


@pytest.mark.parametrize("model", EMBEDDERS)
def test_tokens_and_texts_give_the_same_bits(client, model):
    by_text = embed(client, model, texts_of(model)["texts"])
    inputs = [numbers("input_ids", expected(model, "ids")),
              numbers("lengths", expected(model, "lengths"))]
    np.testing.assert_array_equal(client.infer(model, inputs).as_numpy("embedding"), by_text)


@pytest.mark.parametrize("model", RERANKERS)
def test_scores_pairs_as_a_cross_encoder(client, model):
    scores, logits = [], []
    for query, passage in texts_of(model)["pairs"]:
        inputs = [words("text", [query]), words("items", [passage])]
        scores.append(client.infer(model, inputs).as_numpy("scores")[0])
        logits.append(client.infer(model, inputs, parameters={"activation": "none"})
                      .as_numpy("scores")[0])
    np.testing.assert_allclose(scores, expected(model, "scores"), atol=2e-4)
    np.testing.assert_allclose(logits, expected(model, "logits"), atol=2e-4)


def test_ranks_items_of_a_query(client):
    items = [passage for _, passage in texts_of("bert_reranker")["pairs"]]
    inputs = [words("text", ["how to read a table"]), words("items", items)]
    all_scores = client.infer("bert_reranker", inputs).as_numpy("scores")[:, 0]
    answer = client.infer("bert_reranker", inputs, parameters={"top_k": 2})
    best = np.argsort(-all_scores, kind="stable")[:2]
    np.testing.assert_array_equal(answer.as_numpy("top_items"), best)
    np.testing.assert_array_equal(answer.as_numpy("scores")[:, 0], all_scores[best])


def test_an_embedding_model_scores_by_cosine(client):
    texts = texts_of("minilm")["texts"]
    vectors = embed(client, "minilm", texts)
    inputs = [words("text", texts[:1]), words("items", texts[1:])]
    answer = client.infer("minilm", inputs, parameters={"task": "score"})
    np.testing.assert_allclose(answer.as_numpy("scores")[:, 0], vectors[1:] @ vectors[0], atol=1e-5)


def test_prompts_stand_in_front_of_texts(client):
    given = texts_of("minilm")
    got = embed(client, "minilm", given["texts"], prompt_name=given["prompted"])
    np.testing.assert_allclose(got, expected("minilm", "prompted"), atol=2e-4)
    with pytest.raises(InferenceServerException, match="one of the model's prompts .*query"):
        embed(client, "minilm", ["a"], prompt_name="nobody")


def test_cuts_vectors_and_normalises_them_again(client):
    texts = texts_of("minilm")["texts"]
    whole = embed(client, "minilm", texts, normalize=False)
    cut = embed(client, "minilm", texts, dimensions=16)
    np.testing.assert_allclose(np.linalg.norm(cut, axis=1), 1, atol=1e-5)
    want = whole[:, :16] / np.linalg.norm(whole[:, :16], axis=1, keepdims=True)
    np.testing.assert_allclose(cut, want, atol=1e-5)


@pytest.mark.parametrize("form", ["bf16", "int8"])
def test_narrow_weights_stay_near(client, form):
    got = embed(client, f"minilm_{form}", texts_of("minilm")["texts"])
    assert cosines(got, expected("minilm", "embedding")).min() > 0.995


def test_a_request_of_many_steps_has_the_bits_of_its_texts_alone(client):
    texts = texts_of("minilm")["texts"] * 7
    together = embed(client, "narrow", texts)
    np.testing.assert_array_equal(together, embed(client, "minilm", texts))
    for i in (1, 3, 17):
        np.testing.assert_array_equal(together[i], embed(client, "narrow", [texts[i]])[0])


def test_requests_that_meet_have_the_bits_of_each_alone(server, client):
    texts = texts_of("modernbert")["texts"]
    want = embed(client, "modernbert", texts)
    wrong = []

    def ask(offset):
        own = tritonclient.http.InferenceServerClient(server.http)
        for i in range(20):
            at = (offset + i) % len(texts)
            if not np.array_equal(embed(own, "modernbert", [texts[at]])[0], want[at]):
                wrong.append(at)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_long_texts_are_cut_and_say_so_unless_they_may_not_be(client):
    text = "tables of numbers " * 60
    answer = client.infer("minilm", [words("text", [text])])
    parameters = answer.get_response()["parameters"]
    assert parameters["truncated"] is True
    assert parameters["prompt_tokens"] == 96
    with pytest.raises(InferenceServerException, match="sequences of 1 to 96 tokens"):
        client.infer("minilm", [words("text", [text])], parameters={"truncate": False})
    # Of a pair the longer text is cut first.
    pair = [words("text", ["dates"]), words("items", [text])]
    answer = client.infer("bert_reranker", pair)
    assert answer.get_response()["parameters"]["truncated"] is True


@pytest.mark.parametrize("inputs, parameters, message", [
    ([], {}, "expected one of the inputs text and input_ids"),
    ([words("text", ["a"])], {"task": "generate"}, "does not do \"generate\"; expected embed, score"),
    ([words("text", ["a"])], {"dimensions": 65}, "dimensions: expected an integer in \\[1, 64\\]"),
    ([words("text", ["a"]), words("items", ["b"])], {}, "input items is none of this model's"),
    ([words("items", ["b"])], {"task": "score"}, "expected what the items are compared with"),
    ([numbers("input_ids", [1, 2, 160])], {}, "token 160 at 2 is outside"),
    ([numbers("input_ids", [1, 2, 3]), numbers("lengths", [2, 2])], {}, "whose sum is 3"),
    ([numbers("input_ids", [1, 2]), numbers("lengths", [2, 0])], {}, "input lengths: expected numbers in"),
    ([numbers("input_ids", [1] * 97)], {}, "sequences of 1 to 96 tokens, got 97"),
])
def test_refuses_what_does_not_fit_by_name(client, inputs, parameters, message):
    with pytest.raises(InferenceServerException, match=message):
        client.infer("minilm", inputs, parameters=parameters)


def test_a_deadline_that_has_gone_is_told(client):
    with pytest.raises(InferenceServerException):
        client.infer("narrow", [words("text", texts_of("minilm")["texts"] * 300)], timeout=1)


def test_answers_over_grpc(server):
    client = tritonclient.grpc.InferenceServerClient(server.grpc)
    answer = client.infer("roberta", [words("text", texts_of("roberta")["texts"],
                                            tritonclient.grpc)])
    np.testing.assert_allclose(answer.as_numpy("embedding"), expected("roberta", "embedding"),
                               atol=2e-4)


def test_metadata_names_what_it_takes_and_gives(client):
    metadata = client.get_model_metadata("minilm")
    assert metadata["platform"] == "language_model"
    assert {i["name"] for i in metadata["inputs"]} >= {"text", "items", "input_ids", "lengths"}
    assert [o["name"] for o in metadata["outputs"]][:3] == ["embedding", "scores", "top_items"]


@pytest.mark.parametrize("model", ["minilm", "bert_reranker"])
def test_tells_tokens_and_their_text(client, model):
    text = "tables of numbers"
    told = client.infer(model, [words("text", [text])], parameters={"task": "tokenize"})
    ids = told.as_numpy("output_ids")
    back = client.infer(model, [numbers("input_ids", ids)],
                        parameters={"task": "detokenize", "skip_special_tokens": True})
    assert back.as_numpy("text")[0].decode() == text
