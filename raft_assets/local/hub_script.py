"""A step of `raft local pull`, run by the interpreter of local models: `describe` a model, or `fetch` files of it.

It uses the Hub's own library, which resumes, checks what it got, and keeps the layout of the cache. JSON on stdin, JSON
on stdout: https://huggingface.co/docs/huggingface_hub/package_reference/hf_api
"""

import json
import sys
from typing import Any


def describe(asked: dict[str, Any]) -> dict[str, Any]:
    """Return commit, licence and the files with their sizes."""
    from huggingface_hub import HfApi

    info = HfApi().model_info(asked["name"], revision=asked["revision"], files_metadata=True, token=asked["token"])
    tags = [tag.removeprefix("license:") for tag in info.tags or [] if tag.startswith("license:")]
    return {
        "commit": info.sha,
        "licence": getattr(info.card_data, "license_name", None)
        or getattr(info.card_data, "license", None)
        or (tags[0] if tags else ""),
        "files": {file.rfilename: file.size or 0 for file in info.siblings or []},
    }


def fetch(asked: dict[str, Any]) -> dict[str, Any]:
    """Download the files of a commit into the cache."""
    from huggingface_hub import snapshot_download

    folder = snapshot_download(
        asked["name"],
        revision=asked["revision"],
        allow_patterns=asked["files"],
        cache_dir=asked["cache"],
        token=asked["token"],
    )
    return {"folder": folder}


if __name__ == "__main__":
    steps = {"describe": describe, "fetch": fetch}
    try:
        print(json.dumps(steps[sys.argv[1]](json.load(sys.stdin))))  # noqa: T201 - the answer
    except Exception as error:  # noqa: BLE001 - whatever the library raises is a sentence for a person
        sys.exit(f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}")
