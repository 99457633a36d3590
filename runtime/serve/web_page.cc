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

// RFC 9110, section 12.5.3: "gzip, br", "br, gzip;q=0.5"; not "gzip;q=0".
bool TakesGzip(const HttpRequest& request) {
  std::string_view rest = request.Header("accept-encoding");
  while (!rest.empty()) {
    std::string_view item = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(rest.size(), item.size() + 1));
    item.remove_prefix(std::min(item.size(), item.find_first_not_of(' ')));
    const std::string_view name = item.substr(0, item.find_first_of("; "));
    if (name != "gzip" && name != "*") continue;
    const size_t weight = item.find("q=");
    return weight == std::string_view::npos ||
           item.find_first_of("123456789", weight) != std::string_view::npos;
  }
  return false;
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
    // Browsers ask each time (no-cache), and are told that nothing has changed where it has not.
    const bool gzip = TakesGzip(exchange->request()) && file.gzip.size() < file.bytes.size();
    const std::string tag = fmt::format("\"{}{}\"", file.hash, gzip ? "-gzip" : "");
    if (exchange->request().Header("if-none-match").find(tag) != std::string::npos) {
      response.status = 304;
    } else {
      response.body = std::string(gzip ? file.gzip : file.bytes);
    }
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
        {"Cache-Control", "no-cache"},
        {"ETag", tag},
        {"Vary", "Accept-Encoding"}};
    if (gzip) response.headers.emplace_back("Content-Encoding", "gzip");
    return exchange->Respond(std::move(response));
  }
  throw ApiError(404, "the page has no such file");
}

}  // namespace onecopy::serve
