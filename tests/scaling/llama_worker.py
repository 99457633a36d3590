"""One round of llama.cpp for compare_llama.py, through the C API that llama-cpp-python binds; run in that one's venv.

    llama_worker.py MODEL '{"threads": 2, "prompts": [512], "decode": 128, "batches": [8, 32], "batch_steps": 32}'

Prints one JSON object: versions, and tokens a second of each case, by the same names as compare_llama.py has. Prefill:
random tokens in one batch. Decode: steps of one random token for each sequence, from empty contexts.
"""

import ctypes
import json
import random
import sys
import time

import llama_cpp as ll

_quiet = ll.llama_log_callback(lambda level, text, data: None)


class Context:
    """A context for `sequences` sequences of at most `positions` each."""

    def __init__(self, model, settings, sequences, positions, batch):
        params = ll.llama_context_default_params()
        params.n_seq_max = sequences
        params.n_ctx = sequences * -(-positions // 256) * 256
        params.n_batch = params.n_ubatch = max(batch, sequences)
        params.n_threads = params.n_threads_batch = settings["threads"]
        self.context = ll.llama_init_from_model(model, params)
        if not self.context:
            sys.exit("llama.cpp cannot make a context")
        self.memory = ll.llama_get_memory(self.context)
        self.batch = ll.llama_batch_init(params.n_batch, 0, 1)
        self.vocab = ll.llama_vocab_n_tokens(ll.llama_model_get_vocab(model))
        self.random = random.Random(1)

    def step(self, rows, all_logits):
        """rows: [(sequence, position)]; each a random token."""
        batch = self.batch
        batch.n_tokens = len(rows)
        for i, (sequence, position) in enumerate(rows):
            batch.token[i] = self.random.randrange(self.vocab)
            batch.pos[i] = position
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = sequence
            batch.logits[i] = all_logits or i + 1 == len(rows)
        if ll.llama_decode(self.context, batch) != 0:
            sys.exit("llama.cpp cannot decode")
        ll.llama_synchronize(self.context)

    def prefill(self, n):
        ll.llama_memory_clear(self.memory, True)
        start = time.perf_counter()
        self.step([(0, i) for i in range(n)], all_logits=False)
        return n / (time.perf_counter() - start)

    def decode(self, steps, sequences):
        ll.llama_memory_clear(self.memory, True)
        start = time.perf_counter()
        for i in range(steps):
            self.step([(s, i) for s in range(sequences)], all_logits=True)
        return steps * sequences / (time.perf_counter() - start)

    def close(self):
        ll.llama_batch_free(self.batch)
        ll.llama_free(self.context)


def main():
    path, settings = sys.argv[1], json.loads(sys.argv[2])
    ll.llama_log_set(_quiet, ctypes.c_void_p(0))
    ll.llama_backend_init()
    model = ll.llama_model_load_from_file(path.encode(), ll.llama_model_default_params())
    if not model:
        sys.exit(f"llama.cpp cannot load {path}")
    rates = {}
    decode = settings["decode"]
    for prompt in settings["prompts"]:
        context = Context(model, settings, 1, prompt, prompt)
        context.prefill(prompt)  # warm-up
        rates[f"prefill {prompt}"] = context.prefill(prompt)
        context.close()
    for sequences, steps in [(1, decode)] * bool(decode) + [(b, settings["batch_steps"]) for b in settings["batches"]]:
        context = Context(model, settings, sequences, steps, sequences)
        context.decode(min(8, steps), sequences)  # warm-up
        rates[f"decode {steps} x {sequences}"] = context.decode(steps, sequences)
        context.close()
    print(json.dumps({"rates": rates, "version": f"llama-cpp-python {ll.__version__}",
                      "built_for": ll.llama_print_system_info().decode()}))


if __name__ == "__main__":
    main()
