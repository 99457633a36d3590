// GET /, /web/NAME and /openapi.json: files that are a part of the program.
#include "runtime/serve/api.h"
#include "runtime/serve/web_files.h"

namespace onecopy::serve {
namespace {

const char* ContentTypeOf(std::string_view name) {
  constexpr std::pair<std::string_view, const char*> kTypes[] = {{".html", "text/html; charset=utf-8"},
                                                                 {".js", "text/javascript; charset=utf-8"},
                                                                 {".css", "text/css; charset=utf-8"},
                                                                 {".svg", "image/svg+xml"},
                                                                 {".json", "application/json"}};
  for (const auto& [ending, type] : kTypes)
    if (name.ends_with(ending)) return type;
  return "application/octet-stream";
}

}  // namespace

void WebPage(const ApiContext&, const std::shared_ptr<Exchange>& exchange) {
  const std::string& path = exchange->request().path;
  constexpr std::string_view kFolder = "/web/";
  const std::string_view name = path == "/"                 ? std::string_view("index.html")
                                : path.starts_with(kFolder) ? std::string_view(path).substr(kFolder.size())
                                                            : std::string_view(path).substr(1);
  for (const WebFile& file : WebFiles()) {
    if (file.name != name) continue;
    HttpResponse response;
    response.body = std::string(file.bytes);
    response.content_type = ContentTypeOf(name);
    // Nothing but what this server has may run or be asked, whatever a model says.
    response.headers = {
        {"Content-Security-Policy",
         "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src "
         "'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
         "require-trusted-types-for "
         "'script'"},
        {"X-Content-Type-Options", "nosniff"},
        {"Referrer-Policy", "no-referrer"},
        {"Cache-Control", "no-cache"}};
    return exchange->Respond(std::move(response));
  }
  throw ApiError(404, "the page has no such file");
}

}  // namespace onecopy::serve
