#include "bin/hub/hub_client.h"

#include <algorithm>
#include <charconv>

#include "base/json.h"
#include "bin/hub/hub_cache.h"

namespace sluice::bin {
namespace {

constexpr int64_t kRetryAfterSecondsMax = 60;

int64_t Number(std::string_view text) {
  int64_t value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && value >= 0 ? value : -1;
}

// An etag without its marks: W/"abc" is abc.
std::string PlainEtag(std::string_view etag) {
  if (etag.starts_with("W/")) etag.remove_prefix(2);
  if (etag.size() >= 2 && etag.front() == '"' && etag.back() == '"') {
    etag = etag.substr(1, etag.size() - 2);
  }
  return std::string(etag);
}

bool IsRedirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

bool MayPass(int status) {
  return status == 408 || status == 429 || status >= 500;
}

std::string Printable(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, 300)) out += c >= ' ' && c < '\x7f' ? c : ' ';
  return out;
}

}  // namespace

base::Result<serve::Url> HubClient::AddressOf(const std::string& target) const {
  return serve::ParseUrl(settings_.endpoint.text() + target);
}

std::string HubClient::FileTarget(const RepoName& repo, const std::string& commit,
                                  const std::string& path) const {
  return "/" + repo.id() + "/resolve/" + serve::EscapeForUrl(commit) + "/" +
         serve::EscapeForUrl(path, "/");
}

base::Error HubClient::Refusal(const serve::HttpFetch& answer, const serve::Url& from,
                               const std::string& what, HubPatience& patience) const {
  const int status = answer.status();
  std::string message = what + ": " + from.origin() + " answers " + std::to_string(status);
  const std::string said = Printable(answer.header("X-Error-Message"));
  if (!said.empty()) message += " (" + said + ")";
  if (MayPass(status)) {
    const int64_t seconds = Number(answer.header("Retry-After"));
    patience.wait = base::Duration::Seconds(std::clamp<int64_t>(seconds, 0, kRetryAfterSecondsMax));
    return base::Unavailable(std::move(message));
  }
  const bool is_hub = from.origin() == settings_.endpoint.origin();
  if (is_hub && (status == 401 || status == 403)) {
    message += settings_.token.empty()
                   ? ": there is no such model, or it is private or its terms must be accepted: "
                     "set HF_TOKEN"
                   : ": the token of HF_TOKEN may not read it, or its terms must be accepted";
    return base::PermissionDenied(std::move(message));
  }
  if (status == 404 || status == 410) {
    const std::string_view code = answer.header("X-Error-Code");
    message += code == "RevisionNotFound" ? ": there is no such revision"
               : code == "EntryNotFound"  ? ": there is no such file"
                                          : ": there is no such model or revision";
    return base::NotFound(std::move(message));
  }
  return base::Internal(std::move(message));
}

base::Result<serve::HttpFetch> HubClient::Ask(const Asked& asked, const std::string& what,
                                              HubPatience& patience) const {
  serve::Url url = asked.url;
  for (int hop = 0; hop <= kRedirectsMax; ++hop) {
    serve::FetchRequest request;
    request.method = asked.method;
    request.url = url;
    request.connection.connect_timeout = settings_.timeout;
    request.connection.timeout = settings_.timeout;
    request.connection.proxy = settings_.proxy;
    // Whoever the hub leads to is trusted with the file, not with the token.
    const bool is_hub = url.origin() == settings_.endpoint.origin();
    if (is_hub && !settings_.token.empty()) {
      request.headers.emplace_back("Authorization", "Bearer " + settings_.token);
    }
    if (!asked.range.empty()) request.headers.emplace_back("Range", asked.range);
    serve::HttpFetch answer = TRY(serve::HttpFetch::Begin(request));
    if (answer.status() / 100 == 2) return answer;
    if (!IsRedirect(answer.status())) return Refusal(answer, url, what, patience);
    base::Result<serve::Url> next = serve::ResolveUrl(url, answer.header("Location"));
    if (!next.ok()) {
      return base::Internal(what + ": a redirect without an address: " + next.error().message);
    }
    if (url.tls && !next->tls) {
      return base::PermissionDenied(what + ": " + url.origin() + " leads to " + next->origin() +
                                    ", which is not encrypted");
    }
    if (asked.stay && next->origin() != url.origin()) return answer;
    url = *std::move(next);
  }
  return base::Internal(what + ": more than " + std::to_string(kRedirectsMax) +
                        " redirects, the last one to " + url.origin());
}

base::Result<HubListing> HubClient::List(const RepoName& repo, HubPatience& patience) const {
  const std::string what = "model '" + repo.id() + "', revision '" + repo.revision + "'";
  Asked asked;
  asked.method = "GET";
  asked.url = TRY(
      AddressOf("/api/models/" + repo.id() + "/revision/" + serve::EscapeForUrl(repo.revision)));
  serve::HttpFetch answer = TRY(Ask(asked, what, patience));
  const std::string body = TRY(answer.ReadAll(kListingBytesMax));
  HubListing listing;
  const auto read = [&]() -> base::Status {
    base::JsonDocument document;
    const base::JsonValue root = TRY(document.Parse(body));
    const base::JsonValue commit = TRY(root.Get("sha"));
    listing.commit = std::string(TRY(commit.AsString()));
    if (!IsCommit(listing.commit)) return base::InvalidArgument("'sha' is no commit");
    const base::JsonValue files = TRY(root.Get("siblings"));
    if (files.size() > kFilesMax) {
      return base::ResourceExhausted("more than " + std::to_string(kFilesMax) + " files");
    }
    return files.ForEachElement([&](base::JsonValue file) -> base::Status {
      const base::JsonValue name = TRY(file.Get("rfilename"));
      const std::string path(TRY(name.AsString()));
      if (!IsRepoPath(path)) {
        return base::InvalidArgument("the file name '" + Printable(path) + "' leads elsewhere");
      }
      listing.files.push_back(path);
      return base::Ok();
    });
  };
  const base::Status done = read();
  if (!done.ok()) {
    return base::Error{done.error().code, what + ": the hub's listing: " + done.error().message};
  }
  std::sort(listing.files.begin(), listing.files.end());
  return listing;
}

base::Result<HubFile> HubClient::Describe(const RepoName& repo, const std::string& commit,
                                          const std::string& path, HubPatience& patience) const {
  const std::string what = repo.id() + "/" + path;
  Asked asked;
  asked.method = "HEAD";
  asked.url = TRY(AddressOf(FileTarget(repo, commit, path)));
  asked.stay = true;
  const serve::HttpFetch answer = TRY(Ask(asked, what, patience));
  const std::string_view linked = answer.header("X-Linked-ETag");
  const std::string_view linked_size = answer.header("X-Linked-Size");
  HubFile file;
  file.path = path;
  file.etag = PlainEtag(linked.empty() ? answer.header("ETag") : linked);
  const bool is_file = answer.status() / 100 == 2;
  file.bytes = !linked_size.empty() ? Number(linked_size) : is_file ? answer.length() : -1;
  const std::string_view at = answer.header("X-Repo-Commit");
  if (!at.empty() && at != commit) {
    return base::Internal(what + ": expected commit " + commit + ", the hub answers for " +
                          Printable(at));
  }
  if (!IsBlobName(file.etag)) return base::Internal(what + ": the hub gives it no usable ETag");
  if (file.bytes < 0) return base::Internal(what + ": the hub does not say how long it is");
  return file;
}

base::Result<serve::HttpFetch> HubClient::Open(const RepoName& repo, const std::string& commit,
                                               const HubFile& file, int64_t from,
                                               HubPatience& patience) const {
  const std::string what = repo.id() + "/" + file.path;
  Asked asked;
  asked.method = "GET";
  asked.url = TRY(AddressOf(FileTarget(repo, commit, file.path)));
  if (from > 0) asked.range = "bytes=" + std::to_string(from) + "-";
  serve::HttpFetch answer = TRY(Ask(asked, what, patience));
  if (answer.status() == 206) {
    const std::string begins = "bytes " + std::to_string(from) + "-";
    if (from == 0 || !answer.header("Content-Range").starts_with(begins)) {
      return base::Internal(what + ": expected bytes from " + std::to_string(from) + ", got '" +
                            Printable(answer.header("Content-Range")) + "'");
    }
  } else if (answer.status() != 200) {
    return base::Internal(what + ": expected its bytes, got status " +
                          std::to_string(answer.status()));
  }
  return answer;
}

}  // namespace sluice::bin
