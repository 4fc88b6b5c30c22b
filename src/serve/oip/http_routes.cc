#include "serve/oip/http_routes.h"

#include "base/json.h"
#include "serve/http/compression.h"
#include "serve/oip/http_answers.h"
#include "serve/oip/http_infer.h"
#include "serve/oip/load_request.h"
#include "serve/oip/metadata.h"
#include "serve/oip/shm_regions.h"

namespace sluice::serve {

namespace {

// No route of the protocol has more parts.
constexpr size_t kPartsMax = 8;

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool Decode(std::string_view part, std::string& out) {
  for (size_t i = 0; i < part.size(); ++i) {
    if (part[i] != '%') {
      out += part[i];
      continue;
    }
    if (i + 2 >= part.size() || HexDigit(part[i + 1]) < 0 || HexDigit(part[i + 2]) < 0)
      return false;
    out += static_cast<char>(HexDigit(part[i + 1]) * 16 + HexDigit(part[i + 2]));
    i += 2;
  }
  return true;
}

HttpResponse NotFoundAnswer() {
  return ErrorAnswer(404, "Not Found");
}
HttpResponse WrongMethod() {
  return ErrorAnswer(405, "Method Not Allowed");
}
HttpResponse Unsupported(std::string_view what) {
  return ErrorAnswer(501, std::string(what) + " is not supported by this server");
}

template <class Message>
HttpResponse MessageAnswer(const base::Status& status, const Message& message) {
  if (!status.ok()) return ErrorAnswer(status.error());
  std::string json;
  AppendJson(message, json);
  return JsonAnswer(std::move(json));
}

// The body of a verb: its decompressed JSON text.
base::Result<std::string> VerbBody(const HttpRequest& request, int64_t bytes_max) {
  ContentCoding coding = TRY(ParseContentCoding(request.header("Content-Encoding")));
  return Decompress(coding, request.body, bytes_max);
}

}  // namespace

std::vector<std::string> SplitPath(std::string_view target, std::string_view base_path) {
  std::vector<std::string> parts;
  target = target.substr(0, target.find('?'));
  if (!target.starts_with(base_path)) return parts;
  target.remove_prefix(base_path.size());
  if (target.empty() || target[0] != '/') return parts;
  target.remove_prefix(1);
  for (;;) {
    size_t slash = target.find('/');
    std::string part;
    if (parts.size() == kPartsMax || !Decode(target.substr(0, slash), part)) return {};
    parts.push_back(std::move(part));
    if (slash == std::string_view::npos) return parts;
    target.remove_prefix(slash + 1);
  }
}

void OipHttp::Handle(const HttpRequest& request, const HttpExchange& exchange) {
  // The one route that must be fast is recognised without taking the path apart.
  std::string_view target = request.target;
  constexpr std::string_view kModels = "/v2/models/";
  constexpr std::string_view kInfer = "/infer";
  if (service_.config->base_path.empty() && request.method == "POST" &&
      target.starts_with(kModels) && target.ends_with(kInfer)) {
    std::string_view name =
        target.substr(kModels.size(), target.size() - kModels.size() - kInfer.size());
    if (name.find_first_of("/%?") == std::string_view::npos)
      return HandleInfer(service_, request, exchange, name, {});
  }
  std::vector<std::string> path = SplitPath(target, service_.config->base_path);
  bool later = false;
  HttpResponse response = Answer(request, path, exchange, later);
  if (later) return;
  CompressAnswer(request.header("Accept-Encoding"), response);
  exchange.RespondHere(std::move(response));
}

HttpResponse OipHttp::Answer(const HttpRequest& request, const Path& path,
                             const HttpExchange& exchange, bool& later) {
  if (path.empty() || path[0] != "v2") return NotFoundAnswer();
  bool get = request.method == "GET" || request.method == "HEAD";
  if (path.size() == 1 || (path.size() == 2 && path[1].empty())) {
    if (!get) return WrongMethod();
    inference::ServerMetadataResponse metadata;
    FillServerMetadata(service_, metadata);
    return MessageAnswer(base::Ok(), metadata);
  }
  const std::string& noun = path[1];
  if (noun == "health") return get ? Health(path) : WrongMethod();
  if (noun == "models") return Model(request, path, exchange, later);
  if (noun == "repository") return Repository(request, path, exchange, later);
  if (noun == "systemsharedmemory") return SharedMemory(request, path);
  if (noun == "cudasharedmemory") return Unsupported("CUDA shared memory");
  if (noun == "trace") return Unsupported("the trace extension");
  if (noun == "logging") return Unsupported("the logging extension");
  return NotFoundAnswer();
}

HttpResponse OipHttp::Health(const Path& path) {
  if (path.size() != 3) return NotFoundAnswer();
  if (path[2] == "live") return EmptyAnswer(200);
  if (path[2] == "ready") {
    if (service_.draining.load(std::memory_order_relaxed)) return EmptyAnswer(503);
    return EmptyAnswer(service_.ready() ? 200 : 400);
  }
  return NotFoundAnswer();
}

HttpResponse OipHttp::Model(const HttpRequest& request, const Path& path,
                            const HttpExchange& exchange, bool& later) {
  bool get = request.method == "GET" || request.method == "HEAD";
  inference::ModelStatisticsResponse statistics;
  if (path.size() == 3 && path[2] == "stats") {
    if (!get) return WrongMethod();
    return MessageAnswer(FillStatistics(service_, "", "", statistics), statistics);
  }
  if (path.size() < 3) return NotFoundAnswer();
  const std::string& name = path[2];
  size_t verb_at = 3;
  std::string version;
  if (path.size() > 4 && path[3] == "versions") {
    version = path[4];
    verb_at = 5;
    if (ParseVersion(version) == 0) return NotFoundAnswer();
  }
  if (path.size() > verb_at + 1) {
    if (path[verb_at] == "trace") return Unsupported("the trace extension");
    return NotFoundAnswer();
  }
  std::string_view verb =
      path.size() > verb_at ? std::string_view(path[verb_at]) : std::string_view();
  if (verb == "infer") {
    if (request.method != "POST") return WrongMethod();
    later = true;
    HandleInfer(service_, request, exchange, name, version);
    return {};
  }
  if (verb == "generate" || verb == "generate_stream") return Unsupported("the generate extension");
  if (!get) return WrongMethod();
  if (verb.empty()) {
    inference::ModelMetadataResponse metadata;
    return MessageAnswer(FillModelMetadata(service_, name, version, metadata), metadata);
  }
  if (verb == "ready") {
    bool ready = service_.router->Find(name, version).ok() &&
                 !service_.draining.load(std::memory_order_relaxed);
    return ready ? EmptyAnswer(200) : ErrorAnswer(400, "Model version not ready");
  }
  if (verb == "stats")
    return MessageAnswer(FillStatistics(service_, name, version, statistics), statistics);
  if (verb == "config") {
    base::Result<Router::Pin> pin = service_.router->Find(name, version);
    if (!pin.ok()) return ErrorAnswer(pin.error());
    return MessageAnswer(base::Ok(), *(*pin)->config);
  }
  return NotFoundAnswer();
}

HttpResponse OipHttp::Repository(const HttpRequest& request, const Path& path,
                                 const HttpExchange& exchange, bool& later) {
  bool named = path.size() > 3 && path[2] != "models";
  if (named || (path.size() == 5 && path[4] != "load" && path[4] != "unload")) {
    bool control = path.size() > 3 &&
                   (path.back() == "load" || path.back() == "unload" || path.back() == "index");
    return control ? Unsupported("'repository_name' specification") : NotFoundAnswer();
  }
  if (path.size() == 3 && path[2] == "index") {
    if (request.method != "POST") return WrongMethod();
    base::Result<bool> ready_only = ParseIndexRequest(request.body);
    if (!ready_only.ok()) return ErrorAnswer(ready_only.error());
    std::string json;
    base::JsonWriter writer(json);
    writer.BeginArray();
    for (const IndexRow& row : service_.control->Index(*ready_only)) {
      writer.BeginObject().Key("name").String(row.name);
      if (!row.version.empty()) writer.Key("version").String(row.version);
      if (!row.state.empty()) writer.Key("state").String(row.state);
      if (!row.state.empty()) writer.Key("reason").String(row.reason);
      writer.EndObject();
    }
    writer.EndArray();
    return JsonAnswer(std::move(json));
  }
  if (path.size() != 5) return NotFoundAnswer();
  if (request.method != "POST") return WrongMethod();
  const std::string& name = path[3];
  if (!IsModelName(name))
    return ErrorAnswer(400, "a model's name is 1 to 128 of A-Z a-z 0-9 _ . -, no dot first");
  if (path[4] == "load") return Load(request, name, exchange, later);
  base::Status parsed = ParseUnloadRequest(request.body);
  if (!parsed.ok()) return ErrorAnswer(parsed.error());
  later = true;
  service_.control->Unload(name, [exchange](const base::Status& status) {
    exchange.Respond(status.ok() ? EmptyAnswer(200) : ErrorAnswer(status.error()));
  });
  return {};
}

HttpResponse OipHttp::Load(const HttpRequest& request, const std::string& name,
                           const HttpExchange& exchange, bool& later) {
  base::Result<std::string> body = VerbBody(request, service_.config->load_override_bytes_max);
  if (!body.ok()) return ErrorAnswer(body.error());
  base::Result<LoadOverride> parsed = ParseLoadRequest(*body, *service_.config);
  if (!parsed.ok()) return ErrorAnswer(parsed.error());
  later = true;
  service_.control->Load(name, std::move(*parsed), [exchange](const base::Status& status) {
    exchange.Respond(status.ok() ? EmptyAnswer(200) : ErrorAnswer(status.error()));
  });
  return {};
}

HttpResponse OipHttp::SharedMemory(const HttpRequest& request, const Path& path) {
  if (service_.shm == nullptr)
    return ErrorAnswer(501, "client shared memory is off: see --allow-client-shm");
  std::string region = path.size() == 5 && path[2] == "region" ? path[3] : "";
  const std::string& verb = path.back();
  if (path.size() != 3 && region.empty()) return NotFoundAnswer();
  if (verb == "status") {
    if (request.method != "GET") return WrongMethod();
    base::Result<std::vector<ShmRegions::Region>> regions = service_.shm->Status(region);
    if (!regions.ok()) return ErrorAnswer(regions.error());
    std::string json;
    base::JsonWriter writer(json);
    writer.BeginArray();
    for (const ShmRegions::Region& r : *regions) {
      writer.BeginObject().Key("name").String(r.name).Key("key").String(r.key);
      writer.Key("offset").Int(r.offset).Key("byte_size").Int(r.bytes).EndObject();
    }
    writer.EndArray();
    return JsonAnswer(std::move(json));
  }
  if (request.method != "POST") return WrongMethod();
  if (verb == "unregister") {
    service_.shm->Unregister(region);
    return EmptyAnswer(200);
  }
  if (verb != "register" || region.empty()) return NotFoundAnswer();
  base::Result<ShmRegions::Region> asked = ParseShmRegistration(request.body, region);
  if (!asked.ok()) return ErrorAnswer(asked.error());
  base::Status registered = service_.shm->Register(*asked);
  return registered.ok() ? EmptyAnswer(200) : ErrorAnswer(registered.error());
}

}  // namespace sluice::serve
