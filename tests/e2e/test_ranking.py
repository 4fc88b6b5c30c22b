"""Embeddings, scores, rankings and tokens: by the openai and cohere clients, and as Jina's, vLLM's and TEI's have them."""

import http.client
import json
import shutil

import cohere
import numpy as np
import openai
import pytest

from expected import ENCODERS, of_encoder as expected, texts_of
from test_language_models import write_words_model

@pytest.fixture(scope="module")
def server(tmp_path_factory, start):
    models = tmp_path_factory.mktemp("models")
    for model in ("minilm", "bert_reranker", "roberta_classes"):
        shutil.copytree(ENCODERS / model, models / model / "1", ignore=shutil.ignore_patterns("expected.*"))
    version = models / "words" / "1"
    write_words_model(version)
    cache = 'parameters { key: "kv_cache_bytes" value { string_value: "4194304" } }\n'
    (models / "words" / "config.pbtxt").write_text(cache)
    shutil.copytree(version, models / "judge" / "1")
    (models / "judge" / "config.pbtxt").write_text(
        cache + 'parameters { key: "rerank_template" value { string_value: "w1 {query} w2 {document} w3" } }\n'
        'parameters { key: "score_labels" value { string_value: "w4,w5" } }\n')
    return start(models)


@pytest.fixture(scope="module")
def client(server):
    return openai.OpenAI(base_url=f"http://{server.http}/v1", api_key="none", max_retries=0)


def ask(server, path, body):
    """Status and parsed body of a plain request."""
    connection = http.client.HTTPConnection(server.http, timeout=30)
    connection.request("POST", path, json.dumps(body), {"x-request-id": "abc"})
    answer = connection.getresponse()
    assert answer.headers["x-request-id"] == "abc"
    return answer.status, json.loads(answer.read())


def ranking(scores):
    return np.argsort(-np.asarray(scores), kind="stable").tolist()


def test_openai_embeds_as_sentence_transformers(client):
    texts = texts_of("minilm")["texts"]
    # The client asks for base64 unless told otherwise.
    answer = client.embeddings.create(model="minilm", input=texts)
    vectors = np.array([row.embedding for row in answer.data], np.float32)
    np.testing.assert_allclose(vectors, expected("minilm", "embedding"), atol=2e-4)
    assert [row.index for row in answer.data] == list(range(len(texts)))
    assert answer.usage.prompt_tokens == len(expected("minilm", "ids"))
    floats = client.embeddings.create(model="minilm", input=texts, encoding_format="float")
    np.testing.assert_array_equal(np.array([row.embedding for row in floats.data], np.float32), vectors)


def test_openai_embeds_tokens_and_cuts_vectors(client):
    texts = texts_of("minilm")["texts"]
    ids = np.split(expected("minilm", "ids"), np.cumsum(expected("minilm", "lengths"))[:-1])
    whole = client.embeddings.create(model="minilm", input=[each.tolist() for each in ids])
    np.testing.assert_array_equal(
        [row.embedding for row in whole.data],
        [row.embedding for row in client.embeddings.create(model="minilm", input=texts).data])
    cut = np.array(client.embeddings.create(model="minilm", input=texts[0], dimensions=8).data[0].embedding)
    first = np.array(whole.data[0].embedding)[:8]
    np.testing.assert_allclose(cut, first / np.linalg.norm(first), atol=1e-5)


def test_openai_reads_its_errors(client):
    with pytest.raises(openai.NotFoundError, match="'other' does not exist"):
        client.embeddings.create(model="other", input="a")
    with pytest.raises(openai.BadRequestError, match="dimensions"):
        client.embeddings.create(model="minilm", input="a", dimensions=100000)
    with pytest.raises(openai.BadRequestError, match="expected one for the task embed"):
        client.embeddings.create(model="bert_reranker", input="a")


def test_cohere_ranks(server):
    documents = [passage for _, passage in texts_of("bert_reranker")["pairs"]]
    query = "how to read a table"
    _, scored = ask(server, "/score", {"model": "bert_reranker", "text_1": query, "text_2": documents})
    scores = [row["score"] for row in scored["data"]]
    second = cohere.ClientV2(api_key="none", base_url=f"http://{server.http}")
    answer = second.rerank(model="bert_reranker", query=query, documents=documents, top_n=3)
    assert [row.index for row in answer.results] == ranking(scores)[:3]
    np.testing.assert_allclose([row.relevance_score for row in answer.results],
                               np.sort(scores)[::-1][:3], rtol=1e-6)
    first = cohere.Client(api_key="none", base_url=f"http://{server.http}")
    answer = first.rerank(model="bert_reranker", query=query, documents=documents, return_documents=True)
    assert [row.document.text for row in answer.results] == [documents[i] for i in ranking(scores)]
    with pytest.raises(cohere.NotFoundError, match="'other' does not exist"):
        second.rerank(model="other", query=query, documents=documents)


def test_pairs_score_as_a_cross_encoder(server):
    pairs = texts_of("bert_reranker")["pairs"]
    body = {"model": "bert_reranker", "text_1": [query for query, _ in pairs],
            "text_2": [passage for _, passage in pairs]}
    status, answer = ask(server, "/v1/score", body)
    assert status == 200
    np.testing.assert_allclose([row["score"] for row in answer["data"]],
                               expected("bert_reranker", "scores")[:, 0], atol=2e-4)
    assert answer["usage"]["total_tokens"] > len(pairs)
    _, logits = ask(server, "/v1/score", {**body, "activation": "none"})
    np.testing.assert_allclose([row["score"] for row in logits["data"]],
                               expected("bert_reranker", "logits")[:, 0], atol=2e-4)


def test_jina_and_tei_rank(server):
    documents = [passage for _, passage in texts_of("bert_reranker")["pairs"]]
    query = "how to read a table"
    status, jina = ask(server, "/v1/rerank", {"model": "bert_reranker", "query": query,
                                              "documents": [{"text": each} for each in documents]})
    assert status == 200
    assert [row["document"]["text"] for row in jina["results"]] == \
        [documents[row["index"]] for row in jina["results"]]
    assert jina["usage"]["total_tokens"] > 0
    # Several models score: TEI's body may name one too.
    status, tei = ask(server, "/rerank", {"model": "bert_reranker", "query": query, "texts": documents,
                                          "return_text": True})
    assert status == 200
    assert [(row["index"], row["score"]) for row in tei] == \
        [(row["index"], row["relevance_score"]) for row in jina["results"]]
    status, error = ask(server, "/rerank", {"query": query, "texts": documents})
    assert (status, error["error_type"]) == (422, "Validation")


def test_items_are_scored_behind_one_prefix(server):
    body = {"model": "words", "prefix": "w9 w8 w7", "items": ["w1 w2", "w3", "w4 w5 w6"], "labels": ["w10", "w11"]}
    status, answer = ask(server, "/v1/score", body)
    assert status == 200
    logprobs = np.array([row["scores"] for row in answer["data"]])
    assert logprobs.shape == (3, 2) and (logprobs < 0).all()
    shares = np.array([row["scores"] for row in ask(server, "/v1/score", {**body, "over": "labels"})[1]["data"]])
    weights = np.exp(logprobs)
    np.testing.assert_allclose(shares, weights / weights.sum(-1, keepdims=True), rtol=1e-4)
    # The same alone, in tokens, and among the best.
    alone = ask(server, "/v1/score", {**body, "prefix": [9, 8, 7], "items": [[3]], "labels": [10, 11]})[1]
    assert alone["data"][0]["scores"] == answer["data"][1]["scores"]
    best = ask(server, "/v1/score", {**body, "top_k": 1})[1]["data"]
    assert best == [answer["data"][int(np.argmax(logprobs[:, 0]))]]
    # Without labels: how likely an item is behind the prefix.
    likely = ask(server, "/v1/score", {"model": "words", "prefix": "w9 w8 w7", "items": ["w3"]})[1]["data"][0]
    assert likely["score"] < 0 and "scores" not in likely


def test_items_tell_their_tokens_logprobs(server):
    body = {"model": "words", "prefix": "w9 w8 w7", "items": ["w1 w2", "w3", "w4 w5 w6"], "token_logprobs": True}
    rows = ask(server, "/v1/score", body)[1]["data"]
    assert [len(row["token_logprobs"]) for row in rows] == [2, 1, 3]
    for row in rows:
        np.testing.assert_allclose(sum(row["token_logprobs"]), row["score"], rtol=1e-5)
    best = ask(server, "/v1/score", {**body, "top_k": 2})[1]["data"]
    assert best == [rows[i] for i in ranking([row["score"] for row in rows])[:2]]
    pairs = ask(server, "/v1/score", {"model": "words", "text_1": ["w9 w8 w7"] * 2, "text_2": ["w1 w2", "w3"],
                                      "token_logprobs": True})[1]["data"]
    assert [row["token_logprobs"] for row in pairs] == [row["token_logprobs"] for row in rows[:2]]
    # Nothing is known of the first token of all.
    alone = ask(server, "/v1/score", {"model": "words", "items": ["w1 w2"], "token_logprobs": True})[1]["data"][0]
    assert alone["token_logprobs"][0] is None and alone["token_logprobs"][1] == alone["score"]
    assert "token_logprobs" not in ask(server, "/v1/score", {**body, "token_logprobs": False})[1]["data"][0]


def test_pairs_that_are_too_long_are_cut_as_the_request_says(server):
    def scores(query, document, **how):
        body = {"model": "bert_reranker", "text_1": query, "text_2": [document], **how}
        status, answer = ask(server, "/v1/score", body)
        return answer["data"][0]["score"] if status == 200 else answer["error"]["message"]

    words = texts_of("bert_reranker")["pairs"][0][1].split()
    long = " ".join(words * 200)
    query = " ".join(words[:3])
    assert scores(query, long) == scores(query, long, truncation_strategy="longest_first")
    assert scores(query, long) == scores(query, long, truncation_strategy="only_second")  # the query is short
    assert scores(long, query, truncation_strategy="only_first") == scores(long, query)
    both = scores(long, long, truncation_strategy="only_second")
    assert isinstance(both, str) and "tokens" in both  # the first text alone is too long
    assert scores(query, "start " + long) != scores(query, "start " + long, truncation_side="left")
    assert "only_second" in scores(query, long, truncation_strategy="shortest")
    assert "left or right" in scores(query, long, truncation_side="up")


def test_a_decoder_ranks_by_its_template(server):
    documents = ["w20 w21", "w22", "w23 w24 w25"]
    status, answer = ask(server, "/rerank", {"model": "judge", "query": "w30 w31", "texts": documents})
    assert status == 200
    body = {"model": "words", "prefix": "w1 w30 w31 w2", "items": [each + " w3" for each in documents],
            "labels": ["w4", "w5"], "over": "labels"}
    scores = [row["score"] for row in ask(server, "/v1/score", body)[1]["data"]]
    assert [row["index"] for row in answer] == ranking(scores)
    assert [row["score"] for row in answer] == [scores[i] for i in ranking(scores)]


def test_several_labels_are_no_relevance(server):
    status, error = ask(server, "/v1/rerank",
                        {"model": "roberta_classes", "query": "a", "documents": ["b"]})
    assert status == 400
    assert "a single score is expected" in error["detail"]


def test_tei_embeds(server):
    texts = texts_of("minilm")["texts"]
    status, vectors = ask(server, "/embed", {"inputs": texts})
    assert status == 200
    np.testing.assert_allclose(vectors, expected("minilm", "embedding"), atol=2e-4)


def test_tokens_come_and_go(server):
    status, answer = ask(server, "/tokenize", {"model": "words", "prompt": "w3 w1", "return_token_strs": True})
    assert (status, answer["count"], answer["tokens"]) == (200, 2, [3, 1])
    assert answer["max_model_len"] == 128
    assert len(answer["token_strs"]) == 2
    assert ask(server, "/detokenize", {"model": "words", "tokens": [3, 1]}) == (200, {"prompt": "w3 w1"})
    assert ask(server, "/decode", {"model": "words", "ids": [[3], [1]]}) == (200, ["w3", "w1"])
    status, lists = ask(server, "/tokenize", {"model": "words", "inputs": ["w3  w1"]})
    assert [(row["id"], row["start"], row["stop"]) for row in lists[0]] == [(3, 0, 2), (1, 4, 6)]
    status, error = ask(server, "/detokenize", {"model": "words", "tokens": [96]})
    assert status == 400 and "input_ids" in error["error"]["message"]


def test_a_deadline_is_heard(server):
    body = {"model": "minilm", "input": ["some text"] * 2000, "deadline_ms": 0.001}
    status, error = ask(server, "/v1/embeddings", body)
    assert status == 504
    assert error["error"]["code"] in ("deadline_admission", "deadline_queue", "deadline_step")
