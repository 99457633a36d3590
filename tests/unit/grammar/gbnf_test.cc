// GBNF against tables made by hand: what the notation means, and what is refused, by name and place.
#include <gmock/gmock.h>

#include "tests/unit/grammar/grammar_test_support.h"

namespace onecopy::grammar {
namespace {

struct Case {
  const char* name;
  std::string grammar;
  std::vector<std::string> accepted, rejected;
};

const std::vector<Case>& Cases() {
  static const std::vector<Case> cases = {
      {"literal", "root ::= \"ab\"", {"ab"}, {"", "a", "abc", "b"}},
      {"empty literal", "root ::= \"\"", {""}, {"a"}},
      {"escapes", R"(root ::= "\n\t\r\\\"\x41\u00e9\U0001F600")", {"\n\t\r\\\"Aé😀"}, {"n"}},
      {"alternatives", "root ::= \"a\" | \"bc\" | ", {"a", "bc", ""}, {"b", "abc"}},
      {"group", "root ::= (\"a\" | \"b\") \"c\"", {"ac", "bc"}, {"c", "abc"}},
      {"star", "root ::= \"ab\"*", {"", "ab", "abab"}, {"a", "aba"}},
      {"plus", "root ::= [0-9]+", {"0", "12345"}, {"", "1a"}},
      {"optional", "root ::= \"-\"? \"1\"", {"1", "-1"}, {"--1", "-"}},
      {"exactly", "root ::= \"a\"{3}", {"aaa"}, {"aa", "aaaa"}},
      {"at least", "root ::= \"a\"{2,}", {"aa", "aaaaaaa"}, {"", "a"}},
      {"between", "root ::= \"ab\"{1,3}", {"ab", "ababab"}, {"", "abababab"}},
      {"at most", "root ::= \"a\"{0,2} \"b\"", {"b", "ab", "aab"}, {"aaab"}},
      {"never", "root ::= \"a\"{0} \"b\"", {"b"}, {"ab"}},
      {"class", "root ::= [a-cx_-]", {"a", "b", "c", "x", "_", "-"}, {"d", "", "ab"}},
      {"class escapes",
       R"(root ::= [\]\\\[\x30-\x32"\u4e00-\u9fff])",
       {"]", "\\", "[", "1", "\"", "日"},
       {"3", "u"}},
      {"negated class", "root ::= [^a-y\\n]", {"z", "A", "é", "日", "😀", "\t"}, {"a", "y", "\n", "", "zz"}},
      {"any character", "root ::= . .", {"ab", "é日", "\n😀"}, {"a", "é", "abc"}},
      {"characters are whole", "root ::= [é-ë]+", {"é", "êë"}, {"\xc3", "è", "\xc3\xa9\xc3", "ì"}},
      {"wide class",
       "root ::= [\\u0080-\\U0010FFFF]",
       {"\xc2\x80", "日", "😀", "\xf4\x8f\xbf\xbf"},
       {"\xc1\xbf", "a", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe0\x80\x80"}},
      {"rules", "root ::= one two\none ::= \"1\"\ntwo ::= \"2\" one?", {"12", "121"}, {"1", "122"}},
      {"comments and lines",
       "# first\nroot ::= # why\n  \"a\"   # one\n  | \"b\"\n\n#end\nx-y ::= (\n\"q\"\n|\n\"r\"\n)\n",
       {"a", "b"},
       {"q"}},
      {"recursion on the right", "root ::= \"a\" root | \"b\"", {"b", "aab"}, {"aa", "ba"}},
      {"recursion inside",
       "root ::= \"(\" root \")\" root | \"\"",
       {"", "()", "(()())()"},
       {"(", ")(", "(()"}},
      {"nothing that repeats",
       "root ::= (e e)* \"x\"\ne ::= \"y\"? z*\nz ::= \"z\"?",
       {"x", "yx", "zzyyzx"},
       {"", "y"}},
      {"call that may read nothing",
       "root ::= ws \"a\" ws \"b\" ws\nws ::= \" \"*",
       {"ab", " a  b "},
       {"a", "a b c"}},
      {"ambiguous",
       "root ::= (\"a\" | \"aa\" | x)* \"b\"\nx ::= \"a\" x | \"a\"",
       {"b", "aaaaaaaaaaaaab"},
       {"aaaa", "ba"}},
      {"two ways to end",
       "root ::= x x x\nx ::= \"a\"{1,3}",
       {"aaa", "aaaaaaaaa", "aaaaa"},
       {"aa", "aaaaaaaaaa"}},
      {"nested repetition",
       "root ::= ((\"a\"{2}){2} \"b\"?){1,2}",
       {"aaaa", "aaaabaaaa"},
       {"aaa", "aaaabbaaaa"}},
  };
  return cases;
}

TEST(Gbnf, TextsAreAcceptedAndRejected) {
  for (const Case& c : Cases()) {
    const auto grammar = Grammar::FromGbnf(c.grammar);
    for (const std::string& text : c.accepted) EXPECT_TRUE(Matches(grammar, text)) << c.name << ": " << text;
    for (const std::string& text : c.rejected) EXPECT_FALSE(Matches(grammar, text)) << c.name << ": " << text;
  }
}

TEST(Gbnf, JsonOfAnyKind) {
  const auto grammar = Grammar::FromGbnf(R"(
root    ::= blank value
value   ::= (object | array | string | number | "true" | "false" | "null") blank
object  ::= "{" blank (pair ("," blank pair)*)? "}"
pair    ::= string blank ":" blank value
array   ::= "[" blank (value ("," blank value)*)? "]"
string  ::= "\"" ([^"\\\x00-\x1F] | "\\" (["\\/bfnrt] | "u" [0-9a-fA-F]{4}))* "\""
number  ::= "-"? ("0" | [1-9] [0-9]*) ("." [0-9]+)? ([eE] [-+]? [0-9]+)?
blank   ::= [ \t\r\n]*
)");
  for (const char* text :
       {"{}", " [ ] ", "{\"a\": [1, -2.5e+7, \"x\\u00e9\\n\", {\"b\" :null}], \"c\":true}", "0", "\"日本\""})
    EXPECT_TRUE(Matches(grammar, text)) << text;
  for (const char* text :
       {"", "{", "{a:1}", "[1,]", "01", "1.", "\"\n\"", "\"\\x\"", "{\"a\" 1}", "nul", "[1 2]", "{} {}"})
    EXPECT_FALSE(Matches(grammar, text)) << text;
}

TEST(Gbnf, ArithmeticAndLists) {
  const auto arithmetic = Grammar::FromGbnf(R"~(
root   ::= (sum " = " number "\n")+
sum    ::= product (" " [-+] " " product)*
product ::= factor (" " [*/] " " factor)*
factor ::= number | name | "(" sum ")"
number ::= [0-9]+
name   ::= [a-z] [a-z0-9_]*
)~");
  for (const char* text : {"1 = 1\n", "1 + 2 * x_1 = 7\n(a - (b)) / 3 = 4\n"})
    EXPECT_TRUE(Matches(arithmetic, text)) << text;
  for (const char* text : {"1 = 1", "1 + = 2\n", "(1 = 2\n", "1+2 = 3\n", "1 = x\n"})
    EXPECT_FALSE(Matches(arithmetic, text)) << text;
  const auto list =
      Grammar::FromGbnf("root ::= item+\nitem ::= \"- \" [^\\r\\n\\x0b\\x0c\\x85\\u2028\\u2029]+ \"\\n\"");
  EXPECT_TRUE(Matches(list, "- milk\n- 3 éclairs\n"));
  for (const char* text : {"", "- \n", "milk\n", "- milk", "- a\u2028b\n"})
    EXPECT_FALSE(Matches(list, text)) << text;
}

TEST(Gbnf, FaultsAreNamedWithTheirPlace) {
  const std::string deep_group = "root ::= " + std::string(200, '(') + "\"a\"" + std::string(200, ')');
  std::string many_rules = "root ::= \"a\"\n";
  for (int i = 0; i < 11'000; ++i) many_rules += "r" + std::to_string(i) + " ::= \"a\"\n";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "no rule 'root'"},
      {"a ::= \"x\"", "no rule 'root'"},
      {"root ::= a\n", "line 1, column 10: expected rule 'a' to be defined"},
      {"root ::= \"a\"\nroot ::= \"b\"", "line 2, column 1: expected each rule once"},
      {"root := \"a\"", "line 1, column 6: expected '::='"},
      {"root ::= \"a", "expected '\"' at the end of the literal"},
      {"root ::= [a", "expected ']' at the end of the class"},
      {"root ::= [b-a]", "column 11: expected a range that ends after it begins"},
      {"root ::= (\"a\"", "expected ')'"},
      {"root ::= \"a\")", "column 13: expected '|' or the end of the rule"},
      {"root ::= *", "column 10: expected a \"literal\""},
      {"root ::= \"\\q\"", "column 11: expected an escape"},
      {"root ::= \"\\ud800\"", "no surrogate"},
      {"root ::= \"\\U00110000\"", "expected the number of a character"},
      {"root ::= \"\\x4\"", "2 hexadecimal digits"},
      {"root ::= \"a\"{2,1}", "not below the least"},
      {"root ::= \"a\"{,3}", "expected a number of repetitions"},
      {"root ::= \"a\"{99999999999}", "at most 10000 repetitions"},
      {"root ::= \"a\"*****+", "at most 4 repetitions of one thing"},
      {"root ::= <think>", "expected a \"literal\""},
      {"root ::= root \"a\" | \"b\"", "rule 'root' is left-recursive"},
      {"root ::= a\na ::= b? c\nb ::= \"x\"\nc ::= a \"y\" | \"z\"", "left-recursive"},
      {"root ::= a* a\na ::= root?", "left-recursive"},
      {"root ::= \"a\" root", "rule 'root' can never end"},
      {"root ::= [^\\x00-\\U0010FFFF]", "can never end"},
      {"root ::= (([a-z]{1000}){1000}){1000}", "too large: in rule 'root'"},
      {"root ::= \"\xff\"", "not valid UTF-8"},
      {deep_group, "groups at most 100 deep"},
      {many_rules, "at most 10000 rules"},
      {"root ::= \"" + std::string(300'000, 'a') + "\"", "bytes, expected at most 262144"},
  };
  for (const auto& [text, expected] : cases)
    EXPECT_THAT(ErrorOf([&text = text] { Grammar::FromGbnf(text); }), testing::HasSubstr(expected))
        << text.substr(0, 80);
}

}  // namespace
}  // namespace onecopy::grammar
