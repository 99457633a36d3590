// POST /v1/responses. Source: OpenAI API reference, "Responses". Nothing is stored: each request brings its conversation.
#include "runtime/serve/chat_prompt.h"
#include "runtime/serve/event_stream.h"
#include "runtime/serve/structure.h"

namespace onecopy::serve {
namespace {

Json Text(const std::string& text) {
  return {
      {"type", "output_text"}, {"text", text}, {"annotations", Json::array()}, {"logprobs", Json::array()}};
}

// The answer as a list of items, each of which has begun, goes on and ends, told as events where the client wants a stream.
class ResponseAnswer : public Answer {
 public:
  ResponseAnswer(const ApiContext& context, const std::shared_ptr<Exchange>& exchange, bool stream, Json echo)
      : context_(context), exchange_(exchange), events_(exchange), stream_(stream), echo_(std::move(echo)) {}

  void OnDelta(size_t, const Delta& delta) override {
    Begin();
    if (!delta.reasoning.empty()) {
      Open("reasoning");
      open_text_ += delta.reasoning;
      Tell("response.reasoning_text.delta", {{"content_index", 0}, {"delta", delta.reasoning}});
    }
    if (!delta.content.empty()) {
      Open("message");
      open_text_ += delta.content;
      Tell("response.output_text.delta",
           {{"content_index", 0}, {"delta", delta.content}, {"logprobs", Json::array()}});
    }
    for (const text::AnswerDelta& call : delta.calls) {
      if (call.kind == text::AnswerDelta::Kind::kCallBegin) {
        Close();
        OpenCall(call);
      } else {
        open_text_ += call.text;
        Tell("response.function_call_arguments.delta", {{"delta", call.text}});
      }
    }
  }

  void OnChoiceEnd(size_t, const Finish& finish, const std::string&) override {
    if (const auto error = ErrorOf(finish)) {
      failed_ = true;
      return events_.Fail(*error);
    }
    Begin();
    Close();
    const bool complete = finish.reason != FinishReason::kLength;
    Json response = Response(complete ? "completed" : "incomplete");
    if (!complete) response["incomplete_details"] = {{"reason", "max_output_tokens"}};
    response["usage"] = {{"input_tokens", finish.prompt_tokens},
                         {"input_tokens_details", {{"cached_tokens", finish.cached_tokens}}},
                         {"output_tokens", finish.generated_tokens},
                         {"output_tokens_details", {{"reasoning_tokens", 0}}},
                         {"total_tokens", finish.prompt_tokens + finish.generated_tokens}};
    if (!stream_) return RespondJson(*exchange_, response);
    Send(complete ? "response.completed" : "response.incomplete", {{"response", std::move(response)}});
    events_.End("");
  }

  bool gone() const override { return exchange_->gone() || failed_; }

 private:
  Json Response(const char* status) const {
    Json response = {{"id", id_},
                     {"object", "response"},
                     {"created_at", created_},
                     {"status", status},
                     {"error", nullptr},
                     {"incomplete_details", nullptr},
                     {"model", context_.model_id},
                     {"output", output_}};
    response.update(echo_);
    return response;
  }
  void Send(const char* type, const Json& fields) {
    if (!stream_) return;
    Json event = {{"type", type}, {"sequence_number", number_++}};
    event.update(fields);
    events_.Send("event: " + std::string(type) + "\n" + DataEvent(event));
  }
  // Of the item that is open.
  void Tell(const char* type, const Json& fields) {
    Json event = {{"item_id", item_["id"]}, {"output_index", output_.size()}};
    event.update(fields);
    Send(type, event);
  }
  void Begin() {
    if (begun_) return;
    begun_ = true;
    Send("response.created", {{"response", Response("in_progress")}});
    Send("response.in_progress", {{"response", Response("in_progress")}});
  }
  void OpenItem(Json item) {
    item_ = std::move(item);
    open_text_.clear();
    Send("response.output_item.added", {{"output_index", output_.size()}, {"item", item_}});
  }
  void Open(const std::string& type) {
    if (!item_.is_null() && item_["type"] == type) return;
    Close();
    if (type == "reasoning") {
      OpenItem(
          {{"type", type}, {"id", NewId("rs_")}, {"summary", Json::array()}, {"content", Json::array()}});
      return;
    }
    OpenItem({{"type", type},
              {"id", NewId("msg_")},
              {"status", "in_progress"},
              {"role", "assistant"},
              {"content", Json::array()}});
    Tell("response.content_part.added", {{"content_index", 0}, {"part", Text("")}});
  }
  void OpenCall(const text::AnswerDelta& call) {
    OpenItem({{"type", "function_call"},
              {"id", NewId("fc_")},
              {"call_id", call.id},
              {"name", call.text},
              {"arguments", ""},
              {"status", "in_progress"}});
  }
  void Close() {
    if (item_.is_null()) return;
    const std::string type = item_["type"];
    if (type == "reasoning") {
      Tell("response.reasoning_text.done", {{"content_index", 0}, {"text", open_text_}});
      item_["content"] = Json::array({{{"type", "reasoning_text"}, {"text", open_text_}}});
    } else if (type == "message") {
      Tell("response.output_text.done",
           {{"content_index", 0}, {"text", open_text_}, {"logprobs", Json::array()}});
      Tell("response.content_part.done", {{"content_index", 0}, {"part", Text(open_text_)}});
      item_["content"] = Json::array({Text(open_text_)});
      item_["status"] = "completed";
    } else {
      Tell("response.function_call_arguments.done", {{"name", item_["name"]}, {"arguments", open_text_}});
      item_["arguments"] = open_text_;
      item_["status"] = "completed";
    }
    Send("response.output_item.done", {{"output_index", output_.size()}, {"item", item_}});
    output_.push_back(std::move(item_));
    item_ = Json();
  }

  const ApiContext& context_;
  const std::shared_ptr<Exchange> exchange_;
  EventStream events_;
  const bool stream_;
  const Json echo_;  // fields of the request that the response repeats
  const std::string id_ = NewId("resp_");
  const int64_t created_ = UnixTime();
  Json output_ = Json::array(), item_;  // items that have ended, and the one that is open; null: none
  std::string open_text_;
  int64_t number_ = 0;
  bool begun_ = false;
  std::atomic<bool> failed_{false};
};

// Parts of a message, which have names of their own here, as chat completions have them.
Json PartsOf(const Json& content) {
  if (!content.is_array()) return content;
  Json parts = Json::array();
  for (const Json& part : content) {
    Json copy = part;
    if (part.is_object() &&
        (part.value("type", "") == "input_text" || part.value("type", "") == "output_text"))
      copy = {{"type", "text"}, {"text", part.value("text", "")}};
    parts.push_back(std::move(copy));
  }
  return parts;
}

void AddItem(const Json& item, Json* messages) {
  if (!item.is_object()) throw ApiError(400, "input: expected a text or an array of items", "input");
  const Params fields(item);
  const std::string type = fields.String("type", "message");
  if (type == "message") {
    messages->push_back({{"role", fields.String("role", "user")},
                         {"content", item.contains("content") ? PartsOf(item["content"]) : Json("")}});
  } else if (type == "function_call") {
    Json call = {
        {"id", fields.String("call_id", "")},
        {"type", "function"},
        {"function", {{"name", fields.String("name", "")}, {"arguments", fields.String("arguments", "{}")}}}};
    // Calls that follow each other are one message's.
    Json* last = messages->empty() ? nullptr : &messages->back();
    if (last == nullptr || (*last)["role"] != "assistant") {
      messages->push_back({{"role", "assistant"}, {"content", ""}});
      last = &messages->back();
    }
    if (!last->contains("tool_calls")) (*last)["tool_calls"] = Json::array();
    (*last)["tool_calls"].push_back(std::move(call));
  } else if (type == "function_call_output") {
    const Json* output = fields.Find("output");
    messages->push_back({{"role", "tool"},
                         {"tool_call_id", fields.String("call_id", "")},
                         {"content", output == nullptr ? Json("") : PartsOf(*output)}});
  } else if (type == "reasoning") {
    std::string thoughts;
    if (const Json* content = fields.Find("content"); content != nullptr && content->is_array())
      for (const Json& part : *content)
        if (part.is_object()) thoughts += Params(part).String("text", "");
    if (!thoughts.empty())
      messages->push_back({{"role", "assistant"}, {"content", ""}, {"reasoning_content", thoughts}});
  } else {
    throw ApiError(400, fmt::format("input: items of type \"{}\" are not supported", type), "input");
  }
}

ChatPrompt PromptOfInput(const Params& params) {
  for (const char* name : {"previous_response_id", "conversation", "prompt"})
    if (params.Has(name))
      throw ApiError(
          400, fmt::format("{}: nothing is stored here; send the whole conversation as input", name), name);
  if (params.Bool("background", false)) throw ApiError(400, "background: is not supported", "background");
  ChatPrompt prompt;
  prompt.messages = Json::array();
  if (params.Has("instructions"))
    prompt.messages.push_back({{"role", "system"}, {"content", params.String("instructions", "")}});
  const Json* input = params.Find("input");
  if (input == nullptr) throw ApiError(400, "input: expected a text or an array of items", "input");
  if (input->is_string()) {
    prompt.messages.push_back({{"role", "user"}, {"content", *input}});
  } else if (input->is_array()) {
    for (const Json& item : *input) AddItem(item, &prompt.messages);
  } else {
    throw ApiError(400, "input: expected a text or an array of items", "input");
  }
  if (const Json* tools = params.Find("tools"); tools != nullptr && tools->is_array() && !tools->empty()) {
    prompt.tools = Json::array();
    for (const Json& tool : *tools) {
      if (!tool.is_object() || Params(tool).String("type", "") != "function")
        throw ApiError(400, "tools: only functions are supported", "tools");
      Json function = tool;
      function.erase("type");
      prompt.tools.push_back({{"type", "function"}, {"function", std::move(function)}});
    }
  }
  if (const Json* choice = params.Find("tool_choice")) {
    // {"type": "function", "name": "f"} is {"type": "function", "function": {"name": "f"}} of chat completions.
    Json as_chat = *choice;
    if (as_chat.is_object() && as_chat.contains("name"))
      as_chat = {{"type", "function"}, {"function", {{"name", as_chat["name"]}}}};
    SetToolChoice(as_chat, &prompt);
  }
  if (const Json* variables = params.Find("chat_template_kwargs")) prompt.variables = *variables;
  return prompt;
}

}  // namespace

void Responses(const ApiContext& context, const std::shared_ptr<Exchange>& exchange) {
  const Json body = ParseObject(exchange->request().body);
  const Params params(body);
  Generation generation;
  generation.sampling = params.Sampling(context.sampling, context.spec.vocab_size());
  generation.ignore_eos = params.Bool("ignore_eos", false);
  if (const Json* text = params.Find("text"); text != nullptr && text->is_object())
    if (const Json* format = Params(*text).Find("format")) SetResponseFormat(context, *format, &generation);
  SetPrompt(context, PromptOfInput(params), &generation);
  generation.max_tokens = MaxTokens(context, params, generation.prompts[0].size(),
                                    params.Int("max_output_tokens", 0, 1, INT32_MAX));
  Json echo;
  for (const char* name : {"instructions", "max_output_tokens", "metadata", "parallel_tool_calls",
                           "temperature", "text", "tool_choice", "tools", "top_p"}) {
    const Json* value = params.Find(name);
    echo[name] = value == nullptr ? Json() : *value;
  }
  if (echo["tools"].is_null()) echo["tools"] = Json::array();
  if (echo["tool_choice"].is_null()) echo["tool_choice"] = "auto";
  if (echo["parallel_tool_calls"].is_null()) echo["parallel_tool_calls"] = true;
  echo["store"] = false;
  Submit(context, generation,
         std::make_shared<ResponseAnswer>(context, exchange, params.Bool("stream", false), std::move(echo)));
}

}  // namespace onecopy::serve
