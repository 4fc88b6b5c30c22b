// `sluice infer`: one request to a running server, its answer on standard output.
#include <cstdio>
#include <iostream>
#include <iterator>

#include "base/files.h"
#include "base/json.h"
#include "bin/command.h"
#include "bin/server_address.h"
#include "bin/verbs.h"
#include "serve/client/http_client.h"

namespace sluice::bin {
namespace {

constexpr Usage kUsage = {"infer", "MODEL",
                          "Send one request to a running server and print its answer.",
                          "sluice infer package_encoder --text 'a program that draws graphs'"};

constexpr int64_t kRequestBytesMax = int64_t{64} << 20;

base::Result<std::string> ReadRequest(const std::string& file) {
  if (file == "-") {
    return std::string(std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>());
  }
  return base::ReadFile(file, kRequestBytesMax);
}

std::string TextRequest(const std::vector<std::string>& texts) {
  std::string out;
  base::JsonWriter json(out);
  json.BeginObject().Key("inputs").BeginArray().BeginObject();
  json.Key("name").String("text").Key("datatype").String("BYTES");
  json.Key("shape").BeginArray().Int(static_cast<int64_t>(texts.size())).Int(1).EndArray();
  json.Key("data").BeginArray();
  for (const std::string& text : texts) json.String(text);
  json.EndArray().EndObject().EndArray().EndObject();
  return out;
}

}  // namespace

int RunInfer(const Arguments& arguments) {
  std::string url = "127.0.0.1:8000";
  std::string file;
  std::vector<std::string> texts;
  bool json = false;
  const std::vector<Flag> flags = {
      {"url", &url, "HOST:PORT", "the server's HTTP address"},
      {"request", &file, "FILE",
       "the request's JSON body (Open Inference Protocol); - for standard input"},
      {"text", &texts, "TEXT", "input 'text' of a model with a tokenizer; may repeat"},
      {"json", &json, "", "the answer is JSON anyway; taken for uniformity"},
  };
  int exit_code = kExitOk;
  const auto positional = ParseCommand(kUsage, flags, arguments, 1, 1, exit_code);
  if (!positional) return exit_code;
  if (file.empty() == texts.empty()) {
    return Fail(kUsage, base::InvalidArgument("expected either --request or --text"));
  }
  const auto run = [&]() -> base::Result<serve::HttpReply> {
    const ServerAddress address = TRY(ParseServerAddress(url));
    const std::string body = texts.empty() ? TRY(ReadRequest(file)) : TextRequest(texts);
    serve::HttpClient client = TRY(serve::HttpClient::Connect(address.host, address.port));
    return client.Send("POST", "/v2/models/" + positional->front() + "/infer", body,
                       "Content-Type: application/json\r\n");
  };
  const auto reply = run();
  if (!reply.ok()) return Fail(kUsage, reply.error());
  std::printf("%s\n", reply->body.c_str());
  if (reply->status == 200) return kExitOk;
  std::fprintf(stderr, "sluice infer: status %d\n", reply->status);
  return kExitFailure;
}

}  // namespace sluice::bin
