// Chat templates are programs of strangers: what they may do, and that whatever else they try ends with an error, soon.
#include "runtime/jinja/renderer.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "runtime/base/error.h"

namespace onecopy::jinja {
namespace {

using nlohmann::ordered_json;

std::string Render(Renderer& renderer, const std::string& source,
                   const ordered_json& variables = ordered_json::object()) {
  return renderer.Render({.source = source, .variables = variables, .now = std::nullopt});
}

// The text, or "error: " and the message of a kBadInput.
std::string Outcome(Renderer& renderer, const std::string& source,
                    const ordered_json& variables = ordered_json::object()) {
  try {
    return Render(renderer, source, variables);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBadInput) << error.what();
    return std::string("error: ") + error.what();
  }
}

bool IsError(const std::string& outcome) {
  return outcome.starts_with("error: ");
}

// The worker processes of this one.
std::vector<std::string> Workers() {
  std::vector<std::string> pids;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::ifstream file(entry.path() / "stat");
    std::string stat;
    if (!std::getline(file, stat) || stat.find("(onecopy-jinja)") == std::string::npos) continue;
    const size_t after = stat.find(") ") + 2;
    if (std::atoi(stat.c_str() + after + 2) == getpid()) pids.push_back(entry.path().filename());
  }
  return pids;
}

TEST(Renderer, WritesWhatTheTemplateSays) {
  Renderer renderer(ONECOPY_JINJA);
  EXPECT_EQ(Render(renderer, "Hello {{ name }}!", {{"name", "Zoë 🤖"}}), "Hello Zoë 🤖!");
  EXPECT_EQ(Render(renderer, "", {}), "");
}

TEST(Renderer, IsTheEnvironmentOfTransformers) {
  Renderer renderer(ONECOPY_JINJA);
  EXPECT_EQ(Render(renderer, "a\n  {% if true %}\n  b\n  {% endif %}\nc\n"), "a\n  b\nc")
      << "trim and lstrip blocks";
  EXPECT_EQ(Render(renderer,
                   "{% for i in range(9) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 3 %}{% break %}"
                   "{% endif %}{{ i }}{% endfor %}"),
            "02");
  EXPECT_EQ(Render(renderer, "[{% generation %}{% set x = 1 %}said{% endgeneration %}{{ x }}]"), "[said]");
  EXPECT_EQ(Outcome(renderer, "{{ raise_exception('Roles must alternate') }}"),
            "error: the chat template refuses the conversation: Roles must alternate");
}

TEST(Renderer, ToJsonIsThatOfTransformers) {
  Renderer renderer(ONECOPY_JINJA);
  const ordered_json x = {{"b", "<é'\"&>"}, {"a", {1, 2.5, true, nullptr, 1e22}}};
  EXPECT_EQ(Render(renderer, "{{ x|tojson }}", {{"x", x}}),
            "{\"b\": \"<é'\\\"&>\", \"a\": [1, 2.5, true, null, 1e+22]}");
  EXPECT_EQ(Render(renderer, "{{ x|tojson(ensure_ascii=true, sort_keys=true, separators=(',', ':')) }}",
                   {{"x", x}}),
            "{\"a\":[1,2.5,true,null,1e+22],\"b\":\"<\\u00e9'\\\"&>\"}");
  EXPECT_EQ(Render(renderer, "{{ x|tojson(indent=2) }}", {{"x", {{"k", {1}}}}}),
            "{\n  \"k\": [\n    1\n  ]\n}");
}

TEST(Renderer, TellsTheTimeOfTheZoneItIsIn) {
  setenv("TZ", "UTC", 1);
  Renderer renderer(ONECOPY_JINJA);
  EXPECT_EQ(
      renderer.Render({.source = "{{ strftime_now('%d %b %Y %H:%M') }}", .variables = {}, .now = 1767323045}),
      "02 Jan 2026 03:04");
  EXPECT_EQ(Render(renderer, "{{ strftime_now('%Y')|int > 2025 }}"), "True");
}

TEST(Renderer, KeepsTemplatesOutOfPython) {
  Renderer renderer(ONECOPY_JINJA);
  for (const char* source : {"{{ ''.__class__.__mro__[1].__subclasses__() }}",
                             "{{ [].__class__.__base__.__subclasses__() }}",
                             "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
                             "{{ lipsum.__globals__['os'].system('id') }}",
                             "{{ raise_exception.__globals__ }}{{ raise_exception.__globals__['json'] }}",
                             "{{ namespace.__init__.__globals__['json'] }}",
                             "{{ strftime_now.__closure__[0] }}",
                             "{{ '{0.__class__.__mro__}'.format('')[5] }}",
                             "{{ '{x.__class__.__mro__}'.format_map({'x': 1})[5] }}",
                             "{{ ('{0.__cla' ~ 'ss__.__mro__}').format(1)[9] }}",
                             "{{ ['a']|map(attribute='__class__.__mro__')|first|first }}",
                             "{{ (['{0.__class__.__mro__}']|map('format', 1)|first)[3] }}{{ 1/0 }}",
                             "{% set ns = namespace(__class__=1) %}",
                             "{% set ns = namespace() %}{% set ns.__init__ = 1 %}",
                             "{{ dict.mro() }}",
                             "{{ namespace.mro() }}",
                             "{{ self.__init__.__globals__.x }}",
                             "{{ joiner.__init__.__globals__.os.x }}",
                             "{% import 'os' as os %}",
                             "{% include '/etc/passwd' %}",
                             "{% extends '/etc/passwd' %}",
                             "{% from 'os' import system %}",
                             "{{ open('/etc/passwd').read() }}",
                             "{{ __import__('os').system('id') }}",
                             "{{ messages.append(1) }}",
                             "{{ environ['x'].y }}",
                             "{{ ().__reduce_ex__(2).x }}",
                             "{{ (1).__add__.__self__.__class__.x }}"}) {
    const std::string outcome = Outcome(renderer, source, {{"messages", {1, 2}}});
    EXPECT_TRUE(IsError(outcome) || outcome.find("class '") == std::string::npos)
        << source << " gives " << outcome;
    EXPECT_TRUE(IsError(outcome)) << source << " gives " << outcome;
  }
  EXPECT_EQ(
      Render(renderer, "{{ x.__class__ }}{{ x.__dict__ }}{{ ''|attr('__class__')|attr('__mro__')|first }}",
             {{"x", 1}}),
      "")
      << "undefined, as transformers has it";
}

TEST(Renderer, BoundsWhatTemplatesTake) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the sanitised worker takes a minute to reach its limits";
#endif
  Renderer renderer(ONECOPY_JINJA);
  for (const char* source :
       {"{% for i in range(100001) %}{% endfor %}", "{{ range(10 ** 12)|list }}", "{{ 'a' * 10 ** 10 }}",
        "{{ [0] * 10 ** 10 }}", "{{ '%4000000000d'|format(1) }}", "{{ '{:4000000000}'.format(1) }}",
        "{{ 'a'|center(4000000000) }}", "{{ ('a' * 1000000)|replace('a', 'b' * 100000)|length }}",
        "{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor "
        "%}",
        "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ "
        "ns.x }}",
        "{% for i in range(100000) %}{{ 'a' * 1000 }}{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"}) {
    const std::string outcome = Outcome(renderer, source);
    EXPECT_TRUE(IsError(outcome)) << source << " gives " << outcome.substr(0, 100);
  }
  std::string deep(20000, '(');
  EXPECT_TRUE(IsError(Outcome(renderer, "{{ " + deep + "1" + std::string(20000, ')') + " }}")));
  EXPECT_TRUE(IsError(Outcome(renderer, std::string(2 << 20, ' ')))) << "a template of 2 MB";
  EXPECT_EQ(Render(renderer, "{{ 'still' }}"), "still");
}

TEST(Renderer, EndsTemplatesThatDoNotEnd) {
  Renderer renderer(ONECOPY_JINJA);
  // Compares 2^60 pairs inside one operator, where Python itself could not be interrupted.
  const std::string source =
      "{% set ns = namespace(x=[1], y=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% set "
      "ns.y = [ns.y, "
      "ns.y] %}{% endfor %}{{ ns.x == ns.y }}";
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(Outcome(renderer, source), "error: the chat template was given up: it took longer than 10 s");
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(25));
  EXPECT_EQ(Render(renderer, "{{ 'again' }}"), "again") << "the next gets a new worker";
}

TEST(Renderer, SaysWhatIsWrongWithATemplate) {
  Renderer renderer(ONECOPY_JINJA);
  EXPECT_EQ(Outcome(renderer, "a\n{% if %}"),
            "error: the chat template cannot be parsed: line 2: Expected an expression, got 'end of "
            "statement block'");
  EXPECT_EQ(Outcome(renderer, "{{ a.b.c }}"),
            "error: the chat template failed: UndefinedError: 'a' is undefined");
  EXPECT_TRUE(IsError(Outcome(renderer, "{% for x in 1 %}{% endfor %}")));
}

TEST(Renderer, TakesTextThatIsNotUtf8) {
  Renderer renderer(ONECOPY_JINJA);
  EXPECT_EQ(Render(renderer, "{{ x }}", {{"x", "a\xFFz"}}), "a\uFFFDz");
  EXPECT_TRUE(IsError(Outcome(renderer, "{{ '\\ud800' }}"))) << "half a character is no text";
}

TEST(Renderer, LeavesNoProcessAndNoFileBehind) {
  {
    Renderer renderer(ONECOPY_JINJA);
    EXPECT_TRUE(Workers().empty()) << "none before the first use";
    Render(renderer, "x");
    const std::vector<std::string> workers = Workers();
    ASSERT_EQ(workers.size(), 1u);
    for (const auto& file : std::filesystem::directory_iterator("/proc/" + workers[0] + "/fd"))
      EXPECT_LT(std::stoi(file.path().filename()), 3) << "an open file of ours: " << file.path();
    Render(renderer, "y");
    EXPECT_EQ(Workers(), workers) << "the same for all";
  }
  EXPECT_TRUE(Workers().empty());
}

TEST(Renderer, StartsAgainAfterAWorkerWasKilled) {
  Renderer renderer(ONECOPY_JINJA);
  Render(renderer, "x");
  kill(std::stoi(Workers().at(0)), SIGSEGV);
  EXPECT_TRUE(IsError(Outcome(renderer, "y")));
  EXPECT_EQ(Render(renderer, "z"), "z");
}

TEST(Renderer, ServesSeveralThreads) {
  Renderer renderer(ONECOPY_JINJA);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&renderer, t] {
      for (int i = 0; i < 20; ++i) EXPECT_EQ(Render(renderer, "{{ t }}", {{"t", t}}), std::to_string(t));
    });
  for (std::thread& thread : threads) thread.join();
}

TEST(Renderer, SaysThatItWasNotBuilt) {
  Renderer renderer("/nonexistent/onecopy-jinja");
  try {
    Render(renderer, "x");
    ADD_FAILURE() << "rendered";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUsage);
    EXPECT_NE(std::string(error.what()).find("python3-jinja2"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace onecopy::jinja
