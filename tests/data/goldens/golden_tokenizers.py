"""Small tokenizers for the models of make_goldens.py, trained on a few lines, with the pre-tokenizers and chat templates of
real families; and what they make of some texts."""
import json

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

VOCAB = 512

CORPUS = """The router picks a few experts for every token, and only those experts are read from memory.
A matrix that is cut by rows is summed at the end; a matrix that is cut by columns is joined.
It's hard to say what we'll find, but they've said that you're right and I'd agree: don't worry!
In 1969 there were 400,000 of them; by 2024 it was 12,345,678 (or 3.14159 times more).
    def add(left, right):
        return left + right  # spaces,\ttabs and\r\nline ends matter
    for (int i = 0; i < 10; ++i) { total += values[i] * 2; }
Größe und Äpfel, déjà vu, año nuevo, čeština, Ελληνικά, русский язык, 中文分词测试, 日本語の文章, 한국어, ½ 🙂🦙 e\u0301
The token, the expert, the matrix, the router and the memory: these words come again and again and again.
"""
CASES = ["", " ", "   ", "\n", "\n\n\n", "\t\n x", "Hello world", " Hello  world!\n", "the experts' router, I'LL 12345678",
         "déjà vu e\u0301 Äpfel", "中文分词 日本語 🙂🦙👩‍💻", "a = b[i]*2;  // ok\r\n\r\n", "<|im_start|>user\nhi<|im_end|>",
         "\ud7ff\u0000\u200d\ufeffx", "1234 56 7 88888"]

QWEN2_RE = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
            r"|\s+(?!\S)|\s+")
LLAMA3_RE = QWEN2_RE.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
O200K_RE = "|".join([
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"])
DEEPSEEK3_RE = [r"\p{N}{1,3}", r"[一-龥぀-ゟ゠-ヿ]+",
                r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
                r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"]
PATTERNS = dict(qwen2=[QWEN2_RE], llama3=[LLAMA3_RE], o200k=[O200K_RE], deepseek3=DEEPSEEK3_RE)
SPECIALS = dict(
    qwen2=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
    llama3=["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
    o200k=["<|startoftext|>", "<|endoftext|>", "<|return|>", "<|start|>", "<|message|>", "<|end|>"],
    deepseek3=["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"],
    spm=["<unk>", "<s>", "</s>"])
BOS_EOS = dict(qwen2=(None, "<|im_end|>"), llama3=("<|begin_of_text|>", "<|eot_id|>"),
               o200k=("<|startoftext|>", "<|return|>"), spm=("<s>", "</s>"),
               deepseek3=("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"))
CHAT = dict(
    qwen2="{%- for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{%- endfor %}"
          "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{%- endif %}",
    llama3="{{- bos_token }}{%- for m in messages %}{{- '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' + "
           "m['content'] | trim + '<|eot_id|>' }}{%- endfor %}"
           "{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif %}",
    o200k="{%- for m in messages %}{{ '<|start|>' + m['role'] + '<|message|>' + m['content'] + '<|end|>' }}{%- endfor %}"
          "{%- if add_generation_prompt %}{{ '<|start|>assistant' }}{%- endif %}",
    deepseek3="{{ bos_token }}{%- for m in messages %}{%- if m['role'] == 'system' %}{{ m['content'] }}"
              "{%- elif m['role'] == 'user' %}{{ '<｜User｜>' + m['content'] }}"
              "{%- else %}{{ '<｜Assistant｜>' + m['content'] + eos_token }}{%- endif %}{%- endfor %}"
              "{%- if add_generation_prompt %}{{ '<｜Assistant｜>' }}{%- endif %}",
    spm="{{ bos_token }}{%- for m in messages if m['role'] != 'system' %}{%- if m['role'] == 'user' %}"
        "{{ ' [INST] ' + m['content'] + ' [/INST]' }}{%- else %}{{ ' ' + m['content'] + eos_token }}{%- endif %}{%- endfor %}")
MESSAGES = [dict(role="system", content="Be brief."), dict(role="user", content="Which expert is it?"),
            dict(role="assistant", content="The 3rd."), dict(role="user", content="  Why?\n")]


def make_tokenizer(kind):
    """A tokenizer of VOCAB entries, trained on CORPUS, with the pre-tokenizer of a real model family."""
    special = SPECIALS[kind]
    bos, eos = BOS_EOS[kind]
    if kind == "spm":
        space = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        trained = Tokenizer(models.BPE())
        trained.normalizer = space
        trained.train_from_iterator(CORPUS.splitlines(), trainers.BpeTrainer(
            vocab_size=VOCAB, special_tokens=special + [f"<0x{b:02X}>" for b in range(256)], show_progress=False))
        bpe = json.loads(trained.to_str())["model"]
        tok = Tokenizer(models.BPE(bpe["vocab"], [tuple(m) for m in bpe["merges"]], unk_token="<unk>",
                                   byte_fallback=True, fuse_unk=True))
        tok.normalizer = space
        tok.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                         decoders.Strip(" ", 1, 0)])
        tok.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    else:
        tok = Tokenizer(models.BPE(ignore_merges=kind == "llama3"))
        if kind == "qwen2":
            tok.normalizer = normalizers.NFC()
        tok.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Split(Regex(p), "isolated") for p in PATTERNS[kind]]
            + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
        tok.decoder = decoders.ByteLevel()
        tok.train_from_iterator([CORPUS], trainers.BpeTrainer(
            vocab_size=VOCAB - len(special), initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False))
        tok.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    if bos and kind != "o200k":
        tok.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, tok.token_to_id(bos))])
    assert tok.get_vocab_size() == VOCAB, tok.get_vocab_size()
    return PreTrainedTokenizerFast(tokenizer_object=tok, bos_token=bos, eos_token=eos, chat_template=CHAT[kind],
                                   clean_up_tokenization_spaces=False)


def write_tokenizer(kind, out):
    tok = make_tokenizer(kind)
    tok.backend_tokenizer.save(str(out / "tokenizer.json"))
    (out / "tokenizer_config.json").write_text(json.dumps(dict(
        tokenizer_class="PreTrainedTokenizerFast", bos_token=tok.bos_token, eos_token=tok.eos_token,
        clean_up_tokenization_spaces=False, model_max_length=1024, chat_template=CHAT[kind]),
        indent=1, ensure_ascii=False) + "\n")
    cases = []
    for text in CASES:
        plain = tok(text, add_special_tokens=False)["input_ids"]
        cases.append(dict(text=text, ids=tok(text)["input_ids"], ids_without_added_special_tokens=plain,
                          decoded=tok.decode(plain)))
    chat = tok.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=True)
    golden = dict(kind=kind, cases=cases, chat=dict(messages=MESSAGES, add_generation_prompt=True, text=chat,
                                                    ids=tok(chat, add_special_tokens=False)["input_ids"]))
    (out / "golden_tokenizer.json").write_text(json.dumps(golden, indent=1) + "\n")
    return tok.bos_token_id, tok.eos_token_id
