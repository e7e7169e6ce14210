"""Prompts of a model by `ChatForm` and by the template for others: `LOCAL_PYTHON render_prompts.py MODEL TEMPLATE`.

It runs in the worker's interpreter, beside a copy of the worker, and prints a pair of prompts for each chat.
"""

import json
import sys
from pathlib import Path

from worker.base_model import find_base

CHATS = [
    [{"role": "system", "content": "Be brief.\n'So'"}, {"role": "user", "content": " Who? "}],
    [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Who?"}],
    [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "I."}, {"role": "user", "content": "Why?"}],
    [{"role": "system", "content": "one"}, {"role": "system", "content": "two"}, {"role": "user", "content": "Who?"}],
    [{"role": "system", "content": "alone"}],
]

if __name__ == "__main__":
    base = find_base(Path(sys.argv[1]))
    tokenizer = base.tokenizer()
    form, template = base.chat_form(tokenizer), Path(sys.argv[2]).read_text("utf-8")
    rendered = [
        tokenizer.apply_chat_template(chat, chat_template=template, tokenize=False, add_generation_prompt=True)
        for chat in CHATS
    ]
    print(json.dumps([[form.prompt(chat), other] for chat, other in zip(CHATS, rendered, strict=True)]))
