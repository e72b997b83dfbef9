"""Batches of Amazon Bedrock: through boto3, with files on the lake's S3. The faults are in test_batches.py."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from resources.llm.batches.bedrock import FOLDER, BedrockBatches, BedrockSettingError, client
from resources.llm.request import Answer
from resources.s3.client import S3Resource
from resources.spend.store import S3Store
from tests.fakes.bedrock_server import BUCKET, ROLE, BedrockAccount
from tests.fakes.spend_store import START
from tests.worlds.batches import PER_TOKEN, BatchWorld

UNDISTURBED = BatchWorld(provider="bedrock").play()
STEPS = UNDISTURBED.steps
LINE = {
    "custom_id": "one",
    "body": {
        "messages": [{"role": "system", "content": "Be short."}, {"role": "user", "content": "«post» 🍲"}],
        "max_tokens": 9,
        "temperature": 0.0,
        "response_format": {"json_schema": {"name": "answer", "schema": {"type": "array"}}},
    },
}


def test_a_batch_is_that_of_any_provider() -> None:
    assert UNDISTURBED.problems() == []
    assert UNDISTURBED.answers == BatchWorld().play().answers
    assert UNDISTURBED.account.requests["POST /batches"] == 1
    for answer in UNDISTURBED.table.values():
        assert isinstance(answer, Answer)
        assert answer.finish_reason == "stop"
        assert answer.value is not None, "the fence of Markdown is taken off"


@pytest.mark.parametrize("start", range(3))
def test_a_process_that_ends_at_any_step_changes_nothing(start: int) -> None:
    for step in range(1 + start, STEPS + 1, 3):
        world = BatchWorld(provider="bedrock", crash_at=[step]).play()
        assert (step, world.problems()) == (step, [])
        assert world.answers == UNDISTURBED.answers
        assert world.crashes == 1


def test_too_few_requests_wait_and_say_so() -> None:
    world = BatchWorld(provider="bedrock", least=100)
    world.run()
    assert set(world.waiting.values()) == {
        "A batch has at least 100 requests there, and 7 wait here; single calls need no batch."
    }
    assert world.charged == world.account.usd == 0
    assert world.left() == []


def test_a_request_is_one_of_the_converse_api_and_its_files_are_deleted(s3: S3Resource, tmp_path: Path) -> None:
    store = S3Store(s3)
    account = BedrockAccount(PER_TOKEN, lambda: START)
    found = BedrockBatches(account.client, store, s3.bucket, "meta.llama3-3-70b-instruct-v1:0", ROLE)
    (tmp_path / "in").write_text(json.dumps(LINE))
    key = found.upload(tmp_path / "in", "job")
    assert json.loads(s3.get(key) or b"") == {
        "recordId": "one",
        "modelInput": {
            "messages": [{"role": "user", "content": [{"text": "«post» 🍲"}]}],
            "inferenceConfig": {"maxTokens": 9, "temperature": 0.0},
            "system": [
                {"text": "Be short."},
                {"text": 'Answer with JSON of this schema alone: {"type": "array"}'},
            ],
        },
    }
    s3.put(f"{FOLDER}/cippus-job/x/input.jsonl.out", b'{"recordId": "one", "error": {"errorCode": 400}}\nnot json\n')
    out = f"{FOLDER}/cippus-job/x/input.jsonl.out"
    found.download(out, tmp_path / "out")
    refused, broken = (tmp_path / "out").read_bytes().splitlines()
    assert json.loads(refused) == {
        "custom_id": "one",
        "response": {"status_code": 400, "body": {"error": {"errorCode": 400}}},
    }
    assert broken == b"not json"
    assert sorted(found.files_of("job")) == [key, out]
    found.delete(key)
    assert found.files_of("job") == []


@pytest.mark.parametrize(("url", "region", "host"), [
    ("https://bedrock-runtime.eu-central-1.amazonaws.com/openai/v1", "eu-central-1", "https://bedrock.eu-central-1.amazonaws.com"),
    ("https://vpce-1.example.internal", "us-west-2", "https://vpce-1.example.internal"),
])  # fmt: skip
def test_the_region_is_that_of_the_address(monkeypatch: pytest.MonkeyPatch, url: str, region: str, host: str) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    made = client(url)
    assert (made.meta.region_name, made.meta.endpoint_url) == (region, host)
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(
        BedrockSettingError, match=r"need a region: CIPPUS_LLM_URL is 'https://x\.test', expected https"
    ):
        client("https://x.test")


@pytest.mark.parametrize("role", ["", "batches"])
def test_a_role_is_needed(role: str) -> None:
    with pytest.raises(BedrockSettingError, match=f"CIPPUS_LLM_BATCH_ROLE is '{role}', expected the ARN of a role"):
        BedrockBatches(client("https://bedrock.us-east-1.amazonaws.com"), UNDISTURBED.store, BUCKET, "m", role)


def test_the_bill_is_the_manifests() -> None:
    assert UNDISTURBED.charged == UNDISTURBED.account.usd > Decimal(0)
