// Everything the server can be told, as one typed struct: flags and sluice.yaml fill it
// (config_options.h), nothing below reads flags or the environment.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"

namespace sluice::serve {

// Bounds of what one HTTP client can make the server hold or do.
struct HttpLimits {
  int64_t header_bytes_max = 16 << 10;  // start line and headers together: 431
  int64_t header_count_max = 100;       // 431
  int64_t target_bytes_max = 8 << 10;   // 414
  int64_t body_bytes_max = 64 << 20;    // as received and after decompression: 413
  int64_t chunk_count_max = 65536;      // of one chunked body: 413
  int64_t connections_max = 4096;       // further ones are closed at once
  base::Duration idle_timeout = base::Duration::Seconds(120);  // between requests
  base::Duration read_timeout = base::Duration::Seconds(30);  // first byte of a request to its last
  base::Duration write_timeout =
      base::Duration::Seconds(30);  // a response that the client does not take
  // Nothing is taken of an answer in parts: it is cancelled.
  base::Duration stall_timeout = base::Duration::Seconds(30);
  int64_t stream_bytes_max = 64 << 20;  // of such an answer, waiting to be taken
};

// Bounds of one inference request in any dialect.
struct RequestLimits {
  int64_t json_depth_max = 100;
  int64_t tensor_elements_max = 64 << 20;  // of one tensor
  int64_t tensor_bytes_max = 256 << 20;    // of one tensor in memory
  int64_t tensor_count_max = 1024;         // inputs or outputs of one request
  int64_t parameter_count_max = 256;
  int64_t string_bytes_max = 64 << 10;  // an id, a name, a parameter
};

enum class ModelControl { kNone, kExplicit, kPoll };

// A model that is served from its own folder, without a repository around it and without versions:
// it is version 1.
struct SingleModel {
  std::string name;
  std::string folder;
  std::string file;  // of the folder, where it holds several models; empty: the configuration's
  std::map<std::string, std::string> parameters;  // go before those of config.pbtxt
};

struct ServerConfig {
  std::string host = "127.0.0.1";
  int64_t http_port = 8000;  // 0: any free port; -1: off
  int64_t grpc_port = 8001;
  int64_t metrics_port = 8002;
  int64_t io_threads = 0;  // of each of HTTP and gRPC; 0: half the cores
  std::string base_path;   // prefix of every HTTP route, "/ads" or empty

  std::string models;                 // the repository's folder; empty with a single model
  std::optional<SingleModel> single;  // instead of a repository
  ModelControl model_control = ModelControl::kNone;
  std::vector<std::string> load_models;  // with kExplicit: loaded at start; "*" for all
  base::Duration poll_interval = base::Duration::Seconds(15);
  bool strict_readiness = true;  // ready only when every model named at start is
  int64_t models_max = 4096;
  int64_t load_override_bytes_max = 512 << 20;                 // file: contents of one load request
  base::Duration drain_grace = base::Duration::Seconds(0);     // not ready, still serving
  base::Duration drain_timeout = base::Duration::Seconds(30);  // then what is in flight is cut off

  int64_t prep_threads = 1;            // for requests that take long to prepare: texts to tokenise
  int64_t prep_queue_max = 256;        // such requests waiting; further ones are refused
  int64_t prep_bytes_max = 256 << 20;  // of their payloads

  bool allow_client_shm = false;        // clients may register system shared memory
  std::string client_shm_prefix = "/";  // names must begin with it
  int64_t shm_regions_max = 128;

  HttpLimits http;
  RequestLimits request;
  int64_t grpc_message_bytes_max = 64 << 20;  // as received and after decompression
  bool grpc_accept_compression = true;        // gzip and deflate
  int64_t grpc_streams_max = 1024;            // concurrent calls of one connection
};

}  // namespace sluice::serve
