// Renderer: Jinja templates to text, by Python's jinja2 in a worker process (worker.cc) that is started at the first use
// and kept. Thread-safe: one template at a time. The worker ends with the renderer, or with this process however it ends.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace onecopy::jinja {

struct Request {
  std::string source;                // the template
  nlohmann::ordered_json variables;  // an object; in the order that tojson shall keep
  std::optional<int64_t> now;  // what strftime_now takes for the time, in seconds since 1970; the clock's
};

class Renderer {
 public:
  // program: the worker; empty: onecopy-jinja beside this program.
  explicit Renderer(std::string program = {});
  ~Renderer();
  Renderer(const Renderer&) = delete;
  Renderer& operator=(const Renderer&) = delete;

  // Errors: kBadInput where the template is malformed, refuses its input, does what it may not, or exceeds 10 s, 16 million
  // characters or the worker's memory; the next request gets a new worker. kUsage where this build has no worker, or Python
  // lacks jinja2.
  std::string Render(const Request& request);

 private:
  class Worker;

  const std::string program_;
  std::mutex mutex_;
  std::unique_ptr<Worker> worker_;
};

}  // namespace onecopy::jinja
