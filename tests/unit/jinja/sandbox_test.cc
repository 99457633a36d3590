// Ways out of template sandboxes that were published for jinja2 and for programs that render templates of models, one by one;
// and that the worker has nothing to get out to. Sources: CVE-2024-34359 (llama-cpp-python), CVE-2016-10745, CVE-2019-10906,
// CVE-2024-56326 and CVE-2025-27516 (str.format by way of the sandbox), and collections of server-side template injections.
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "runtime/base/error.h"
#include "runtime/jinja/renderer.h"

namespace onecopy::jinja {
namespace {

std::string TextOrError(Renderer& renderer, const std::string& source) {
  try {
    return renderer.Render(
        {.source = source,
         .variables = {{"messages", {{{"role", "user"}, {"content", "x"}}}}, {"text", "abc"}},
         .now = std::nullopt});
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBadInput) << error.what();
    return std::string("error: ") + error.what();
  }
}

// Whatever else they give: no object of Python's inside, no environment variable, no file.
TEST(Sandbox, PublishedWaysOutGiveNothingAway) {
  Renderer renderer(ONECOPY_JINJA);
  for (const char* source :
       {// llama-cpp-python's: any subclass of object that knows os or subprocess.
        "{% for c in ().__class__.__base__.__subclasses__() %}{% if 'warning' in c.__name__ %}"
        "{{ c()._module.__builtins__['__import__']('os').popen('id').read() }}{% endif %}{% endfor %}",
        "{{ ''.__class__.__base__.__subclasses__() }}", "{{ text.__init__.__globals__ }}",
        "{{ text.__class__.__mro__[1].__subclasses__()[40]('/etc/passwd').read() }}",
        // Names that are put together, escaped or given as items.
        "{{ text['__cla' ~ 'ss__'] }}", "{{ text['\\x5f\\x5fclass\\x5f\\x5f'] }}",
        "{{ text|attr('\\x5f\\x5fclass\\x5f\\x5f') }}", "{{ text|attr(['__class__']|first) }}",
        "{{ [text]|map(attribute='__class__')|list }}", "{{ [text]|groupby('__class__')|list }}",
        "{{ [text]|sum(attribute='__class__') }}",
        "{{ [text]|sort(attribute='__class__.__name__')|map('attr', '__class__')|list }}",
        "{{ [text]|selectattr('__class__')|list }}{{ [text]|map(attribute='__class__.__name__')|list }}",
        "{{ [text]|unique(attribute='__class__')|map(attribute='__class__')|list }}",
        // str.format, called, stored, found by a filter, given to one, and its cousins.
        "{{ '{0.__class__}'.format(text) }}", "{{ '{x.__class__}'.format(x=text) }}",
        "{{ '{0[__class__]}'.format(text) }}", "{% set f = '{0.__class__}'.format %}{{ f(text) }}",
        "{{ ('{0.__class__}'|attr('format'))(text) }}",
        "{{ (['{0.__class__}']|map(attribute='format')|first)(text) }}",
        "{% set f = ['{0.__class__.__init__.__globals__}']|map(attribute='format')|first %}{{ f(text) }}",
        "{{ {'f': '{0.__class__}'.format}.f(text) }}",
        "{% macro m(f) %}{{ f(text) }}{% endmacro %}{{ m('{0.__class__}'.format) }}",
        "{{ '{0.__class__}'.format_map({'0': text}) }}",
        "{% set f = '{a.__class__}'.format_map %}{{ f({'a': text}) }}",
        "{{ ('{a.__class__}'|attr('format_map'))({'a': text}) }}",
        "{{ ('{0.__class__}'|safe|attr('format'))(text) }}", "{{ ('{0.__class__}'|safe).format(text) }}",
        "{{ ('{0.__class__}'|escape).format(text) }}", "{{ ('{a.__class__}'|safe).format_map({'a': text}) }}",
        "{{ '%s'|format(text.__class__) }}", "{{ '%(a)s' % {'a': text.__class__} }}",
        // What the environment itself has.
        "{{ self._TemplateReference__context }}", "{{ self.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os }}", "{{ joiner.__init__.__globals__.os }}",
        "{{ namespace.__init__.__globals__.os }}", "{{ lipsum.__globals__.os }}", "{{ lipsum.__code__ }}",
        "{{ range.__class__ }}", "{{ dict.__class__ }}", "{{ dict.fromkeys.__globals__ }}",
        "{{ raise_exception.__closure__ }}", "{{ strftime_now.__globals__ }}",
        "{{ strftime_now.__closure__ }}", "{{ caller.__globals__ }}", "{{ loop.__class__ }}",
        "{% for i in [1] %}{{ loop._iterator }}{{ loop.__init__.__globals__ }}{% endfor %}",
        "{% macro m() %}{% endmacro %}{{ m.__init__.__globals__ }}{{ m._environment }}{{ m._func.__globals__ "
        "}}",
        "{% call(x) m() %}{% endcall %}", "{{ url_for.__globals__ }}",
        "{{ get_flashed_messages.__globals__ }}", "{{ config.items() }}",
        "{{ request.application.__globals__ }}", "{{ environment.from_string('x') }}",
        "{{ context.environment }}", "{{ debug }}{% debug %}",
        // Frames and code of generators.
        "{{ (messages|map('upper')).gi_frame.f_globals }}", "{{ (messages|select).gi_code }}",
        "{{ (messages|batch(1)).gi_frame.f_builtins }}",
        "{% set g = messages|map('upper') %}{{ g.gi_frame.f_back.f_back.f_globals }}",
        // Modules, files, and other templates.
        "{% include '/etc/hostname' %}", "{% include ['/proc/self/environ', '/etc/passwd'] ignore missing %}",
        "{% import '/etc/passwd' as p %}{{ p }}", "{% extends '/proc/self/environ' %}",
        "{{ open('/proc/self/environ').read() }}", "{{ __builtins__ }}", "{{ __loader__ }}", "{{ __file__ }}",
        "{{ ''|attr('__doc__') }}", "{{ eval('1') }}", "{{ exec('1') }}", "{{ compile('1', '', 'eval') }}",
        "{{ globals() }}", "{{ vars() }}"}) {
    const std::string outcome = TextOrError(renderer, source);
    if (outcome.starts_with("error: ")) continue;
    for (const char* sign : {"class '", "<function", "<module", "<built-in", "<frame", "<code", "<generator",
                             "__", "root:", "PATH=", "0x7f", "_TemplateReference", "Environment"})
      EXPECT_EQ(outcome.find(sign), std::string::npos) << source << " gives " << outcome;
  }
  EXPECT_EQ(TextOrError(renderer, "{{ text }}"), "abc") << "the worker is not harmed";
}

// Nothing of what a template was given is changed by it: the next request may be another user's.
TEST(Sandbox, TemplatesLeaveNothingForTheNext) {
  Renderer renderer(ONECOPY_JINJA);
  for (const char* source :
       {"{% set cycler = 1 %}{% set range = 2 %}", "{{ messages.append(1) }}", "{{ messages.clear() }}",
        "{{ messages[0].update(role=1) }}", "{{ messages[0].setdefault('a', 1) }}",
        "{% set ns = namespace(a=1) %}{% set ns.a = 2 %}", "{% set dict = 1 %}{% set namespace = 2 %}"})
    TextOrError(renderer, source);
  EXPECT_EQ(TextOrError(renderer,
                        "{{ range(2)|list }}{{ namespace(a=3).a }}{{ messages[0].role }}{{ messages|length "
                        "}}{{ dict(a=1).a }}"),
            "[0, 1]3user11");
}

// What costs more than it says ends with an error, soon. (What computes until the worker's alarm, such as lipsum(10 ** 9), is
// EndsTemplatesThatDoNotEnd's.)
TEST(Sandbox, BombsAreDefused) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitised worker has no limit of memory";
#endif
  Renderer renderer(ONECOPY_JINJA);
  const auto start = std::chrono::steady_clock::now();
  for (const char* source :
       {"{{ 'a' * (2 ** 40) }}", "{{ [[]] * (2 ** 40) }}", "{{ (1, 2) * (2 ** 40) }}",
        "{{ '%0*d'|format(2 ** 40, 1) }}", "{{ '{:>{}}'.format('', 2 ** 40) }}", "{{ 'a'.zfill(2 ** 40) }}",
        "{{ 'a'.ljust(2 ** 40) }}", "{{ 'a\\tb'.expandtabs(2 ** 40) }}",
        "{{ ('a' * 99999).replace('', 'b' * 99999) }}", "{{ 'a'|indent(2 ** 40) }}",
        "{{ range(100000000) }}{{ range(100000000)|list }}", "{{ range(0, 10 ** 9, 1)|batch(1)|list }}",
        "{{ [1]|batch(10 ** 12, 0)|list }}", "{{ 'a'.encode('utf-8') * 10 ** 12 }}",
        "{{ [1, 2]|tojson(indent=10 ** 12) }}", "{{ 10 ** 10 ** 3 }}{{ 'a' * 10 ** 10 ** 3 }}",
        "{% for i in range(99999) %}{{ 'a' * 99999 }}{% endfor %}",
        "{% macro a() %}{{ caller() }}{% endmacro %}{% macro b() %}{% call a() %}{{ b() "
        "}}{% endcall %}{% endmacro %}{{ b() }}",
        "{% for x in [[]] recursive %}{{ loop([x]) }}{% endfor %}"}) {
    const std::string outcome = TextOrError(renderer, source);
    EXPECT_TRUE(outcome.starts_with("error: "))
        << source << " gives " << outcome.size() << " bytes: " << outcome.substr(0, 60);
  }
  const std::string nested = [] {
    std::string text;
    for (int i = 0; i < 5000; ++i) text += "{% if true %}";
    return text;
  }();
  EXPECT_TRUE(TextOrError(renderer, nested).starts_with("error: "));
  EXPECT_TRUE(TextOrError(
                  renderer, "{{ 1" +
                                [] {
                                  std::string text;
                                  for (int i = 0; i < 50000; ++i) text += "+1";
                                  return text;
                                }() +
                                " }}")
                  .starts_with("error: "));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(60));
  EXPECT_EQ(TextOrError(renderer, "{{ text }}"), "abc");
}

// If a way out were found: no file, no connection, no memory beyond what is there, no rights to be gained.
TEST(Sandbox, TheWorkerHasNothingToGetOutTo) {
  Renderer renderer(ONECOPY_JINJA);
  TextOrError(renderer, "x");
  std::string worker;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::ifstream file(entry.path() / "stat");
    std::string stat;
    if (!std::getline(file, stat) || stat.find("(onecopy-jinja)") == std::string::npos) continue;
    if (std::atoi(stat.c_str() + stat.find(") ") + 4) == getpid()) worker = entry.path();
  }
  ASSERT_FALSE(worker.empty());
  std::map<std::string, std::string> limits;
  std::ifstream file(worker + "/limits");
  for (std::string line; std::getline(file, line);) {
    std::string name = line.substr(0, 26), soft = line.substr(26, 21);
    name.erase(name.find_last_not_of(' ') + 1);
    soft.erase(soft.find_last_not_of(' ') + 1);
    limits[name] = soft;
  }
  EXPECT_EQ(limits["Max open files"], "2") << "those that it has; so no file, socket or pipe";
  EXPECT_EQ(limits["Max file size"], "0");
  EXPECT_EQ(limits["Max core file size"], "0");
  EXPECT_EQ(limits["Max processes"], "0");
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  EXPECT_EQ(limits["Max address space"], std::to_string(768u << 20));
#endif
  std::ifstream status(worker + "/status");
  const std::string all(std::istreambuf_iterator<char>(status), {});
  EXPECT_NE(all.find("NoNewPrivs:\t1"), std::string::npos);
}

}  // namespace
}  // namespace onecopy::jinja
