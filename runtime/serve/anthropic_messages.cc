// POST /v1/messages and /v1/messages/count_tokens. Source: Anthropic API reference, "Messages", version 2023-06-01.
#include "runtime/serve/chat_prompt.h"
#include "runtime/serve/event_stream.h"
#include "runtime/text/json_scanner.h"

namespace onecopy::serve {
namespace {

std::string Event(const Json& json) {
  return "event: " + json.at("type").get<std::string>() + "\n" + DataEvent(json);
}

// Text blocks as one text. Errors: ApiError for blocks of other kinds.
std::string TextOf(const Json& content, const char* where) {
  if (content.is_null()) return "";
  if (content.is_string()) return content.get<std::string>();
  std::string text;
  if (!content.is_array())
    throw ApiError(400, fmt::format("{}: expected a text or an array of blocks", where), where);
  for (const Json& block : content) {
    const std::string type = block.is_object() && block.contains("type") && block["type"].is_string()
                                 ? block["type"].get<std::string>()
                                 : "";
    if (type != "text" || !block.contains("text") || !block["text"].is_string())
      throw ApiError(
          400, fmt::format("{}: blocks of type \"{}\" are not supported here, only text is", where, type),
          where);
    text += block["text"].get<std::string>();
  }
  return text;
}

// A message of blocks as messages in OpenAI's form: results of tools are messages of their own there.
void AddMessage(const Json& message, Json* messages) {
  if (!message.is_object() || !message.contains("role") || !message.contains("content"))
    throw ApiError(400, "messages: expected objects with a role and content", "messages");
  const Json& content = message["content"];
  if (!content.is_array()) {
    messages->push_back({{"role", message["role"]}, {"content", TextOf(content, "messages")}});
    return;
  }
  Json said = {{"role", message["role"]}, {"content", ""}};
  std::string text, thoughts;
  Json calls = Json::array();
  for (const Json& block : content) {
    const std::string type = block.is_object() ? Params(block).String("type", "") : "";
    if (type == "tool_use") {
      calls.push_back({{"id", block.value("id", "")},
                       {"type", "function"},
                       {"function",
                        {{"name", Params(block).String("name", "")},
                         {"arguments", block.contains("input") ? block["input"].dump() : "{}"}}}});
    } else if (type == "tool_result") {
      messages->push_back(
          {{"role", "tool"},
           {"tool_call_id", Params(block).String("tool_use_id", "")},
           {"content", block.contains("content") ? TextOf(block["content"], "messages") : std::string()}});
    } else if (type == "thinking") {
      thoughts += Params(block).String("thinking", "");
    } else if (type != "redacted_thinking") {
      text += TextOf(Json::array({block}), "messages");
    }
  }
  if (text.empty() && calls.empty() && thoughts.empty()) return;  // results only
  said["content"] = text;
  if (!thoughts.empty()) said["reasoning_content"] = thoughts;
  if (!calls.empty()) said["tool_calls"] = std::move(calls);
  messages->push_back(std::move(said));
}

// {"type": "auto" | "any" | "tool" | "none", "name"}.
void SetAnthropicToolChoice(const Json& choice, ChatPrompt* prompt) {
  const std::string type = choice.is_object() ? Params(choice).String("type", "") : "";
  if (type == "auto") return;
  if (type != "any" && type != "tool" && type != "none")
    throw ApiError(400, "tool_choice: expected an object of type auto, any, tool or none", "tool_choice");
  prompt->calls = type == "none" ? ChatPrompt::Calls::kNone : ChatPrompt::Calls::kRequired;
  if (type != "tool") return;
  prompt->function = Params(choice).String("name", "");
  if (prompt->function.empty())
    throw ApiError(400, "tool_choice: of type tool needs the tool's name", "tool_choice");
}

ChatPrompt PromptOf(const Params& params) {
  ChatPrompt prompt;
  prompt.messages = Json::array();
  if (const Json* system = params.Find("system"))
    prompt.messages.push_back({{"role", "system"}, {"content", TextOf(*system, "system")}});
  const Json* messages = params.Find("messages");
  if (messages == nullptr || !messages->is_array() || messages->empty())
    throw ApiError(400, "messages: expected an array of at least one message", "messages");
  for (const Json& message : *messages) AddMessage(message, &prompt.messages);
  if (const Json* tools = params.Find("tools"); tools != nullptr && !tools->empty()) {
    if (!tools->is_array()) throw ApiError(400, "tools: expected an array", "tools");
    prompt.tools = Json::array();
    for (const Json& tool : *tools) {
      if (!tool.is_object() || !tool.contains("name"))
        throw ApiError(400, "tools: expected objects with a name", "tools");
      Json function = {{"name", tool["name"]}, {"description", tool.value("description", "")}};
      if (tool.contains("input_schema")) function["parameters"] = tool["input_schema"];
      prompt.tools.push_back({{"type", "function"}, {"function", std::move(function)}});
    }
  }
  if (const Json* choice = params.Find("tool_choice")) SetAnthropicToolChoice(*choice, &prompt);
  if (const Json* thinking = params.Find("thinking"); thinking != nullptr && thinking->is_object())
    prompt.variables = {{"enable_thinking", Params(*thinking).String("type", "") != "disabled"}};
  if (const Json* variables = params.Find("chat_template_kwargs")) prompt.variables = *variables;
  return prompt;
}

class MessageAnswer : public Answer {
 public:
  MessageAnswer(const ApiContext& context, const std::shared_ptr<Exchange>& exchange, bool stream,
                uint64_t prompt_tokens)
      : context_(context),
        exchange_(exchange),
        events_(exchange),
        stream_(stream),
        prompt_tokens_(prompt_tokens) {}

  void OnDelta(size_t, const Delta& delta) override {
    if (!delta.reasoning.empty()) Append("thinking", "thinking", "thinking_delta", delta.reasoning);
    if (!delta.content.empty()) Append("text", "text", "text_delta", delta.content);
    for (const text::AnswerDelta& call : delta.calls) {
      if (call.kind == text::AnswerDelta::Kind::kCallBegin) {
        OpenBlock({{"type", "tool_use"}, {"id", call.id}, {"name", call.text}, {"input", Json::object()}});
      } else {
        input_ += call.text;
        if (stream_) SendDelta({{"type", "input_json_delta"}, {"partial_json", call.text}});
      }
    }
  }

  void OnChoiceEnd(size_t, const Finish& finish, const std::string& matched_stop) override {
    if (const auto error = ErrorOf(finish)) {
      failed_ = true;
      return events_.Fail(*error);
    }
    const char* reason = finish.reason == FinishReason::kLength ? "max_tokens"
                         : !matched_stop.empty()                ? "stop_sequence"
                         : called_                              ? "tool_use"
                                                                : "end_turn";
    const Json stop = matched_stop.empty() ? Json() : Json(matched_stop);
    const Json usage = {{"input_tokens", finish.prompt_tokens - finish.cached_tokens},
                        {"cache_read_input_tokens", finish.cached_tokens},
                        {"cache_creation_input_tokens", 0},
                        {"output_tokens", finish.generated_tokens}};
    CloseBlock();
    if (!stream_) {
      Json message = Message();
      message["content"] = content_;
      message["stop_reason"] = reason;
      message["stop_sequence"] = stop;
      message["usage"] = usage;
      return RespondJson(*exchange_, message);
    }
    Begin();
    events_.Send(Event({{"type", "message_delta"},
                        {"delta", {{"stop_reason", reason}, {"stop_sequence", stop}}},
                        {"usage", usage}}));
    events_.End(Event({{"type", "message_stop"}}));
  }

  bool gone() const override { return exchange_->gone() || failed_; }

 private:
  Json Message() const {
    return {{"id", id_},
            {"type", "message"},
            {"role", "assistant"},
            {"model", context_.model_id},
            {"content", Json::array()},
            {"stop_reason", nullptr},
            {"stop_sequence", nullptr},
            {"usage", {{"input_tokens", prompt_tokens_}, {"output_tokens", 0}}}};
  }
  void Begin() {
    if (begun_) return;
    begun_ = true;
    events_.Send(Event({{"type", "message_start"}, {"message", Message()}}));
  }
  void CloseBlock() {
    if (content_.empty()) return;
    if (stream_) events_.Send(Event({{"type", "content_block_stop"}, {"index", content_.size() - 1}}));
    if (content_.back()["type"] != "tool_use") return;
    // Input is an object there, also where the model did not write one.
    const std::optional<Json> input = text::ParseJson(input_);
    content_.back()["input"] = input && input->is_object() ? *input : Json{{"arguments", input_}};
    input_.clear();
  }
  void OpenBlock(Json block) {
    if (stream_) Begin();
    CloseBlock();
    called_ |= block["type"] == "tool_use";
    content_.push_back(block);
    if (!stream_) return;
    events_.Send(Event({{"type", "content_block_start"},
                        {"index", content_.size() - 1},
                        {"content_block", std::move(block)}}));
  }
  void SendDelta(Json delta) {
    events_.Send(Event(
        {{"type", "content_block_delta"}, {"index", content_.size() - 1}, {"delta", std::move(delta)}}));
  }
  // To the block that is open, or one of this type.
  void Append(const char* type, const char* field, const char* delta_type, const std::string& text) {
    if (content_.empty() || content_.back()["type"] != type) {
      Json block = {{"type", type}, {field, ""}};
      if (std::string_view(type) == "thinking") block["signature"] = "";
      OpenBlock(std::move(block));
    }
    if (stream_) {
      SendDelta({{"type", delta_type}, {field, text}});
    } else {
      content_.back()[field].get_ref<std::string&>() += text;
    }
  }

  const ApiContext& context_;
  const std::shared_ptr<Exchange> exchange_;
  EventStream events_;
  const bool stream_;
  const uint64_t prompt_tokens_;
  const std::string id_ = NewId("msg_");
  Json content_ = Json::array();  // of a stream without what the blocks said
  std::string input_;             // JSON of the tool_use block that is open
  bool begun_ = false, called_ = false;
  std::atomic<bool> failed_{false};
};

}  // namespace

Json AnthropicErrorJson(const ApiError& error) {
  const char* type = error.status == 413   ? "request_too_large"
                     : error.status == 503 ? "overloaded_error"
                     : error.status >= 500 ? "api_error"
                                           : ErrorType(error.status);
  return {{"type", "error"}, {"error", {{"type", type}, {"message", error.what()}}}};
}

void Messages(const ApiContext& context, const std::shared_ptr<Exchange>& exchange) {
  const Json body = ParseObject(exchange->request().body);
  const Params params(body);
  if (!params.Has("max_tokens")) throw ApiError(400, "max_tokens: is required", "max_tokens");
  Generation generation;
  generation.sampling = params.Sampling(context.sampling, context.spec.vocab_size());
  generation.choice.stop = params.Strings("stop_sequences", 16);
  SetPrompt(context, PromptOf(params), &generation);
  const size_t n_prompt = generation.prompts[0].size();
  generation.max_tokens = MaxTokens(context, params, n_prompt, 0);
  Submit(context, generation,
         std::make_shared<MessageAnswer>(context, exchange, params.Bool("stream", false), n_prompt));
}

void CountTokens(const ApiContext& context, const std::shared_ptr<Exchange>& exchange) {
  const Json body = ParseObject(exchange->request().body);
  RespondJson(*exchange, {{"input_tokens", TokensOf(context, PromptOf(Params(body))).size()}});
}

}  // namespace onecopy::serve
