"""What a language model counts of itself, as the metrics page of the real binary shows it."""

import urllib.request

import openai
import pytest

from test_language_models import PROMPT, expected, write_words_model

OURS = 'model="words",version="1"'
THEIRS = 'model_name="words",version="1"'


@pytest.fixture(scope="module")
def server(tmp_path_factory, start):
    version = tmp_path_factory.mktemp("models") / "words" / "1"
    write_words_model(version)
    return start(version.parent.parent)


def page(server):
    """{name with labels: value} of all samples."""
    with urllib.request.urlopen(f"http://{server.metrics}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if line and line[0] != "#"}


def grown(before, after, name):
    return after[name] - before[name]


def test_a_server_that_is_ready_has_made_one_token(server):
    before_requests = page(server)
    assert before_requests[f"sluice_lm_generated_tokens_total{{{OURS}}}"] == 1


def test_counts_tokens_times_and_hits_under_both_names(server):
    client = openai.OpenAI(base_url=f"http://{server.http}/v1", api_key="none", max_retries=0)
    before = page(server)
    for _ in range(2):
        client.completions.create(model="words", prompt=expected("llama", "tokens")[:PROMPT].tolist(), max_tokens=5,
                                  temperature=0, extra_body={"ignore_eos": True})
    after = page(server)
    for ours, theirs, count in (
            ("sluice_lm_time_to_first_token_seconds_count", "vllm:time_to_first_token_seconds_count", 2),
            ("sluice_lm_time_between_tokens_seconds_count", "vllm:inter_token_latency_seconds_count", 8),
            ("sluice_lm_time_between_tokens_seconds_count", "vllm:time_per_output_token_seconds_count", 8),
            ("sluice_lm_request_seconds_count", "vllm:e2e_request_latency_seconds_count", 2),
            ("sluice_lm_queue_seconds_count", "vllm:request_queue_time_seconds_count", 2),
            ("sluice_lm_prompt_tokens_total", "vllm:prompt_tokens_total", 2 * PROMPT),
            ("sluice_lm_generated_tokens_total", "vllm:generation_tokens_total", 10),
            ("sluice_lm_prefix_queries_total", "vllm:prefix_cache_queries", 2 * (PROMPT - 1)),
            ("sluice_lm_prefix_hits_total", "vllm:prefix_cache_hits", PROMPT - 1)):
        assert grown(before, after, f"{ours}{{{OURS}}}") == count, ours
        assert grown(before, after, f"{theirs}{{{THEIRS}}}") == count, theirs
    assert grown(before, after, f'sluice_lm_finished_total{{{OURS},reason="length"}}') == 2
    assert grown(before, after, f'vllm:request_success_total{{{THEIRS},finished_reason="length"}}') == 2
    assert after[f"sluice_lm_kv_blocks{{{OURS}}}"] > 0
    assert after[f"sluice_lm_kv_blocks_kept{{{OURS}}}"] > 0
    for name in ("vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc",
                 "vllm:gpu_cache_usage_perc"):
        assert after[f"{name}{{{THEIRS}}}"] == 0, name
    assert any(name.startswith("vllm:cache_config_info{") and 'block_size="32"' in name for name in after)


def test_counts_what_is_given_up(server):
    client = openai.OpenAI(base_url=f"http://{server.http}/v1", api_key="none", max_retries=0)
    before = page(server)
    with pytest.raises(openai.APIStatusError):
        client.completions.create(model="words", prompt="w1 w2", max_tokens=100, temperature=0,
                                  extra_body={"ignore_eos": True, "deadline_ms": 0.01})
    after = page(server)
    refused = [name for name in after if name.startswith(f"sluice_refused_total{{{OURS}")]
    assert sum(grown(before, after, name) for name in refused) == 1
