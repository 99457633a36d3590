// Boost.Asio and Beast: a thread that waits for all sockets at once, so that thousands of idle connections cost memory only.
#include "runtime/base/error.h"
#include "runtime/serve/http_connection.h"

namespace onecopy::serve {

using namespace internal;  // NOLINT: this file is the other half of it

class HttpServer::Impl {
 public:
  Impl(const HttpOptions& options, Handler handler)
      : shared_(options, std::move(handler)), acceptor_(shared_.io) {
    if (!options.certificate_file.empty()) LoadCertificate(options);
    Listen(options);
    Accept();
    thread_ = std::thread([this] { shared_.io.run(); });
  }
  ~Impl() {
    shared_.handlers.stop();
    shared_.handlers.join();
    asio::post(shared_.io, [this] {
      ErrorCodeOf ignored;
      acceptor_.close(ignored);
      const std::vector<ConnectionBase*> all(shared_.all.begin(), shared_.all.end());
      for (ConnectionBase* connection : all) connection->Close();
      shared_.io.stop();
    });
    thread_.join();
  }
  uint16_t port() const { return acceptor_.local_endpoint().port(); }
  bool on_loopback() const { return acceptor_.local_endpoint().address().is_loopback(); }
  size_t connections() const { return shared_.connections; }
  size_t unsent() const { return shared_.unsent; }

 private:
  void LoadCertificate(const HttpOptions& options) {
    tls_.emplace(asio::ssl::context::tls_server);
    tls_->set_options(asio::ssl::context::default_workarounds | asio::ssl::context::no_tlsv1 |
                      asio::ssl::context::no_tlsv1_1);
    ErrorCodeOf error;
    tls_->use_certificate_chain_file(options.certificate_file, error);
    if (error)
      Fail(ErrorCode::kUsage, "the certificate {} cannot be used: {}; expected a chain in PEM form",
           options.certificate_file, error.message());
    tls_->use_private_key_file(options.key_file, asio::ssl::context::pem, error);
    if (error)
      Fail(ErrorCode::kUsage, "the key {} cannot be used: {}; expected the certificate's key in PEM form",
           options.key_file, error.message());
  }
  void Listen(const HttpOptions& options) {
    ErrorCodeOf error;
    tcp::resolver resolver(shared_.io);
    const auto found = resolver.resolve(options.host, std::to_string(options.port),
                                        tcp::resolver::passive | tcp::resolver::numeric_service, error);
    if (error || found.empty())
      Fail(ErrorCode::kUsage, "the address {} is unknown: {}", options.host, error.message());
    const tcp::endpoint endpoint = found.begin()->endpoint();
    acceptor_.open(endpoint.protocol(), error);
    if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
    if (error)
      Fail(ErrorCode::kUsage, "{} port {} cannot be listened on: {}; choose another --host or --port",
           options.host, options.port, error.message());
  }
  void Accept() {
    acceptor_.async_accept([this](ErrorCodeOf error, tcp::socket socket) {
      if (error == asio::error::operation_aborted) return;
      if (error) {  // no file descriptor left, most likely: not at once again
        retry_.expires_after(std::chrono::milliseconds(50));
        retry_.async_wait([this](ErrorCodeOf e) {
          if (!e) Accept();
        });
        return;
      }
      if (shared_.connections < shared_.options.connections) Begin(std::move(socket));
      Accept();
    });
  }
  void Begin(tcp::socket socket) {
    ErrorCodeOf ignored;
    socket.set_option(tcp::no_delay(true), ignored);
    const tcp::endpoint remote = socket.remote_endpoint(ignored);
    std::string peer = remote.address().to_string(ignored);
    if (tls_) {
      std::make_shared<Connection<TlsStream>>(shared_, TlsStream(std::move(socket), *tls_), std::move(peer))
          ->Start();
    } else {
      std::make_shared<Connection<tcp::socket>>(shared_, std::move(socket), std::move(peer))->Start();
    }
  }

  Shared shared_;
  std::optional<asio::ssl::context> tls_;
  tcp::acceptor acceptor_;
  asio::steady_timer retry_{shared_.io};
  std::thread thread_;
};

HttpServer::HttpServer(const HttpOptions& options, Handler handler)
    : impl_(std::make_unique<Impl>(options, std::move(handler))) {}
HttpServer::~HttpServer() = default;
uint16_t HttpServer::port() const {
  return impl_->port();
}
bool HttpServer::on_loopback() const {
  return impl_->on_loopback();
}
size_t HttpServer::connections() const {
  return impl_->connections();
}
void HttpServer::Flush(double seconds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (impl_->unsent() > 0 && std::chrono::steady_clock::now() < end)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
}

}  // namespace onecopy::serve
