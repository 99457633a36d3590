"""What several tests of the server claim of it."""

from concurrent.futures import ThreadPoolExecutor


def assert_kept(test, server, usage):
    """The beginning of a prompt that was read before is read from the cache: by pages, or where the kernels of prompts round
    otherwise than those of few tokens, by the pieces in which prompts are read."""
    unit = 512 if server.ask("GET", "/api/machine")[2]["kernels"] == "amx" else 64
    kept = (usage["prompt_tokens"] - 1) // unit * unit
    test.assertEqual(usage["prompt_tokens_details"]["cached_tokens"], kept)


def assert_answers(test, server, prompts, want, make_way):
    """Of 60 tokens, all at once and one after another. make_way: some have to, for the cache has no room for all."""
    def ask(prompt):
        return server.post("/v1/completions", prompt=prompt, max_tokens=60, temperature=0)["choices"][0]["text"]

    def none_made_way():
        return "onecopy_preemptions_total 0\n" in server.ask("GET", "/metrics")[2]

    with ThreadPoolExecutor(len(prompts)) as pool:
        for _ in range(50):  # on a quick machine one may have ended before the next one comes
            test.assertEqual(list(pool.map(ask, prompts)), want)
            if not (make_way and none_made_way()):
                break
    test.assertEqual([ask(p) for p in prompts], want)
    test.assertEqual(server.process.poll(), None)
    if make_way:
        test.assertFalse(none_made_way())
