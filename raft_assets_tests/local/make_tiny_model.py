"""A random two-layer Llama, its tokenizer trained on a file: `LOCAL_PYTHON make_tiny_model.py ROWS FOLDER`.

It runs in the worker's interpreter, which has torch.
"""

import json
import sys
from pathlib import Path

import gguf
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

PIECES = 1024
SPECIAL = ["<s>", "</s>", "<pad>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]
WITH_SYSTEM = (
    "{{ bos_token }}{% for message in messages %}"
    "<|{{ message.role }}|>\n{{ message.content | trim }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
WITHOUT_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + WITH_SYSTEM


def main(rows: Path, folder: Path) -> None:
    """Write models that differ in their templates alone: with a system role, without, and others."""
    lines = rows.read_text("utf-8").splitlines()
    texts = [message["content"] for line in lines for message in json.loads(line)["messages"]]
    pieces = Tokenizer(models.BPE())
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=PIECES,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    pieces.train_from_iterator(texts, trainer)
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=PIECES,
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=1024,
            bos_token_id=0,
            eos_token_id=[1, 6],
            pad_token_id=2,
        )
    )
    # its generation prompt isn't what it writes before an answer
    moving = WITH_SYSTEM.replace(
        "{% if add_generation_prompt %}<|assistant|>", "{% if add_generation_prompt %}<|assistant|> now"
    )
    thinking = WITH_SYSTEM.replace(
        "{% endif %}",
        "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}{% endif %}",
    )
    templates = {
        "system": WITH_SYSTEM,
        "no-system": WITHOUT_SYSTEM,
        "moving": moving,
        "thinking": thinking,
        "plain": None,
    }
    for name, template in templates.items():
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=pieces, bos_token="<s>", eos_token="</s>", pad_token="<pad>", chat_template=template
        )
        tokenizer.save_pretrained(folder / name)
        model.save_pretrained(folder / name)
    write_gguf(folder / "system", folder / "tiny.gguf", model)


def write_gguf(source: Path, file: Path, model: LlamaForCausalLM) -> None:
    """Write a model's folder as one GGUF file with weights of 8 bits."""
    pieces = json.loads((source / "tokenizer.json").read_text("utf-8"))
    vocabulary: dict[str, int] = pieces["model"]["vocab"]
    tokens = sorted(vocabulary, key=lambda token: vocabulary[token])
    config, writer = model.config, gguf.GGUFWriter(file, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(PIECES)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL if token in SPECIAL else gguf.TokenType.NORMAL for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in pieces["model"]["merges"]])
    writer.add_bos_token_id(SPECIAL.index("<s>"))
    writer.add_eos_token_id(SPECIAL.index("</s>"))
    writer.add_pad_token_id(SPECIAL.index("<pad>"))
    writer.add_chat_template(WITH_SYSTEM)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, tensor in model.state_dict().items():
        known = names.get_name(name, try_suffixes=(".weight",))
        quantised = tensor.ndim > 1
        kind = gguf.GGMLQuantizationType.Q8_0 if quantised else gguf.GGMLQuantizationType.F32
        weights = gguf.quantize(tensor.float().numpy(), kind) if quantised else tensor.float().numpy()
        writer.add_tensor(known, weights, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
