#include "serve/repository/repository.h"

#include <chrono>
#include <future>

#include "base/files.h"
#include "base/log.h"
#include "serve/repository/warm_up.h"

namespace sluice::serve {

using base::Log;
using base::LogLevel;

namespace {

const char* StateName(bool ready, bool loading, bool unloading) {
  if (ready) return "READY";
  if (loading) return "LOADING";
  return unloading ? "UNLOADING" : "UNAVAILABLE";
}

}  // namespace

Repository::Repository(const ServerConfig& config, ModelLoader& loader, Router& router)
    : config_(config), loader_(loader), router_(router) {}

Repository::~Repository() {
  Stop();
}

base::Result<std::vector<std::string>> Repository::FindModels() const {
  if (config_.single.has_value()) return std::vector<std::string>{config_.single->name};
  return ListModels(config_.models, config_.models_max);
}

base::Result<base::FileHandle> Repository::OpenFolderOf(const std::string& name) const {
  if (IsSingle(name)) return base::OpenFolder(config_.single->folder);
  return OpenModel(config_.models, name);
}

base::Result<std::string> Repository::Fingerprint(const std::string& name) const {
  const base::FileHandle folder = TRY(OpenFolderOf(name));
  return FingerprintModel(folder, name);
}

base::Status Repository::Start() {
  std::vector<std::string> found = TRY(FindModels());
  std::vector<std::string> names;
  if (config_.model_control != ModelControl::kExplicit || config_.single.has_value()) {
    names = std::move(found);
  } else {
    for (const std::string& name : config_.load_models) {
      if (name == "*") {
        names.insert(names.end(), found.begin(), found.end());
      } else if (!IsModelName(name)) {
        return base::InvalidArgument("load-model: '" + name + "' is no model's name");
      } else {
        names.push_back(name);
      }
    }
  }
  {
    std::lock_guard lock(mutex_);
    named_at_start_.insert(names.begin(), names.end());
    names.assign(named_at_start_.begin(), named_at_start_.end());
    starting_ = static_cast<int64_t>(names.size());
    for (const std::string& name : names) entries_[name];
  }
  for (const std::string& name : names) {
    auto job = [this, name] {
      base::Status loaded = LoadModel(name, {});
      std::lock_guard lock(mutex_);
      --starting_;
      changed_.notify_all();
    };
    if (!load_thread_.Enqueue(job))
      return base::ResourceExhausted("more models than the load queue takes");
  }
  // Until the server is ready its loads have nobody to give way to.
  load_thread_.LowerPriority();
  if (config_.model_control == ModelControl::kPoll)
    poll_thread_ = std::thread([this] { PollMain(); });
  return base::Ok();
}

void Repository::AwaitStart() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return starting_ == 0 || stopping_; });
}

void Repository::Stop() {
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return;
    stopping_ = true;
    changed_.notify_all();
  }
  if (poll_thread_.joinable()) poll_thread_.join();
  std::promise<void> emptied;
  const bool enqueued = load_thread_.EnqueueLast([&] {
    std::vector<std::string> names;
    {
      std::lock_guard lock(mutex_);
      for (const auto& [name, entry] : entries_) names.push_back(name);
    }
    for (const std::string& name : names) router_.Remove(name);
    emptied.set_value();
  });
  if (enqueued) emptied.get_future().wait();
  load_thread_.Stop();
}

// --- Loading, on the load thread.

base::Result<Repository::Plan> Repository::MakePlan(const std::string& name,
                                                    const LoadOverride& load,
                                                    const OverrideFolder& folder) {
  Plan plan;
  plan.root = load.files.empty() ? config_.models : folder.root();
  if (load.config_json.empty()) {
    const base::FileHandle model = TRY(OpenFolderOf(name));
    plan.config = TRY(ReadConfigFile(model, name));
  } else {
    plan.config = TRY(ParseConfigJson(load.config_json));
  }
  plan.reading = TRY(ReadConfig(plan.config, name));
  for (const std::string& notice : plan.reading.notices) {
    Log(LogLevel::kInfo, "config_field_without_effect").With("model", name).With("field", notice);
  }
  plan.single = IsSingle(name) && load.files.empty();
  if (plan.single) {
    const SingleModel& single = *config_.single;
    if (!single.file.empty()) plan.reading.model_file = single.file;
    for (const auto& [key, value] : single.parameters) {
      plan.reading.settings.parameters[key] = value;
    }
    plan.versions = {1};
    return plan;
  }
  std::vector<int64_t> available = TRY(ListVersions(plan.root, name));
  plan.versions = TRY(ChooseVersions(plan.reading.versions, available));
  return plan;
}

base::Result<Router::Pin> Repository::LoadVersion(const std::string& name, int64_t version,
                                                  const Plan& plan) {
  ModelSource source;
  source.name = name;
  source.version = version;
  source.model_folder = plan.single ? config_.single->folder : plan.root + "/" + name;
  source.version_folder =
      plan.single ? source.model_folder : source.model_folder + "/" + std::to_string(version);
  source.model_file = plan.reading.model_file;
  source.platform = plan.reading.platform;
  source.settings = plan.reading.settings;
  if (!base::IsPathComponent(source.model_file)) {
    return base::InvalidArgument(
        "config field 'default_model_filename': expected a plain file name");
  }
  auto served = std::make_shared<ServedModel>();
  served->engine = TRY(loader_.Load(source, load_thread_.MakeRetire()));
  TRY(CheckDeclared(source.settings, served->description()));
  TRY(WarmUp(served->engine, source.settings, source.model_folder));
  served->name = name;
  served->version = version;
  served->version_text = std::to_string(version);
  served->settings = std::move(source.settings);
  served->at_start = served->engine->statistics().snapshot();
  auto config = std::make_shared<inference::ModelConfig>(plan.config);
  CompleteConfig(served->description(), *config);
  config->set_name(name);
  served->config = std::move(config);
  return Router::Pin(std::move(served));
}

base::Status Repository::LoadModel(const std::string& name, const LoadOverride& load) {
  base::Time begun = base::SystemClock::Get().Now();
  auto failed = [&](const base::Error& error) {
    std::lock_guard lock(mutex_);
    entries_[name].failure = error.message;
    Log(LogLevel::kError, "model_load_failed").With("model", name).With("reason", error.message);
    return error;
  };
  std::string fingerprint;
  if (config_.model_control == ModelControl::kPoll) {
    base::Result<std::string> taken = Fingerprint(name);
    if (taken.ok()) fingerprint = std::move(*taken);
  }
  {
    std::lock_guard lock(mutex_);
    // What still waits to be loaded must not hold up the end.
    if (stopping_) return base::Unavailable("the server is stopping");
    Entry& entry = entries_[name];
    entry.failure.clear();
    entry.fingerprint = std::move(fingerprint);
  }
  base::Result<OverrideFolder> folder =
      load.files.empty() ? OverrideFolder() : OverrideFolder::Write(name, load);
  if (!folder.ok()) return failed(folder.error());
  base::Result<Plan> plan = MakePlan(name, load, *folder);
  if (!plan.ok()) return failed(plan.error());

  std::vector<Router::Pin> old = router_.VersionsOf(name);
  Router::Versions versions;
  base::Status first_failure;
  for (int64_t version : plan->versions) {
    SetVersion(name, version, State::kLoading, "");
    base::Result<Router::Pin> loaded = LoadVersion(name, version, *plan);
    if (loaded.ok()) {
      versions[version] = std::move(*loaded);
      continue;
    }
    Log(LogLevel::kError, "model_version_load_failed")
        .With("model", name)
        .With("version", version)
        .With("reason", loaded.error().message);
    SetVersion(name, version, State::kUnavailable, loaded.error().message);
    if (first_failure.ok()) first_failure = loaded.error();
  }
  if (!first_failure.ok() && !old.empty()) {
    // A reload that failed leaves what serves as it is.
    for (const Router::Pin& pin : old) SetVersion(name, pin->version, State::kReady, "");
    return failed(first_failure.error());
  }
  for (const Router::Pin& pin : old) {
    if (versions.count(pin->version) == 0)
      SetVersion(name, pin->version, State::kUnavailable, "unloaded");
  }
  for (const auto& [version, pin] : versions) SetVersion(name, version, State::kReady, "");
  size_t ready = versions.size();
  router_.Publish(name, std::move(versions));
  if (!first_failure.ok()) return failed(first_failure.error());
  Log(LogLevel::kInfo, "model_loaded")
      .With("model", name)
      .With("versions", static_cast<int64_t>(ready))
      .With("seconds", (base::SystemClock::Get().Now() - begun).seconds());
  return base::Ok();
}

base::Status Repository::UnloadModel(const std::string& name) {
  std::vector<Router::Pin> old = router_.VersionsOf(name);
  {
    std::lock_guard lock(mutex_);
    // What its operator took away is not missed by readiness.
    named_at_start_.erase(name);
    if (entries_.count(name) == 0) return base::Ok();
  }
  for (const Router::Pin& pin : old)
    SetVersion(name, pin->version, State::kUnavailable, "unloaded");
  router_.Publish(name, {});
  if (!old.empty()) Log(LogLevel::kInfo, "model_unloaded").With("model", name);
  return base::Ok();
}

void Repository::SetVersion(const std::string& name, int64_t version, State state,
                            std::string reason) {
  std::lock_guard lock(mutex_);
  entries_[name].versions[version] = {state, std::move(reason)};
  changed_.notify_all();
}

// --- What the dialects ask.

base::Status Repository::CheckControl() const {
  if (config_.model_control == ModelControl::kExplicit) return base::Ok();
  return base::Unavailable(
      "explicit model load / unload is not allowed: start the server with --model-control "
      "explicit");
}

void Repository::Load(std::string name, LoadOverride override_with,
                      std::function<void(base::Status)> done) {
  base::Status allowed = CheckControl();
  if (!allowed.ok()) return done(allowed);
  auto shared = std::make_shared<LoadOverride>(std::move(override_with));
  bool enqueued = load_thread_.Enqueue([this, name, shared, done] {
    {
      std::lock_guard lock(mutex_);
      if (entries_.count(name) == 0 &&
          static_cast<int64_t>(entries_.size()) >= config_.models_max) {
        return done(
            base::ResourceExhausted("more than " + std::to_string(config_.models_max) + " models"));
      }
    }
    base::Status loaded = LoadModel(name, *shared);
    if (loaded.ok()) return done(loaded);
    // Triton's clients look for these words.
    done(base::Error{base::Code::kInvalidArgument,
                     "failed to load '" + name + "', " + loaded.error().message});
  });
  if (!enqueued) done(base::Unavailable("too many loads wait, or the server is stopping"));
}

void Repository::Unload(std::string name, std::function<void(base::Status)> done) {
  base::Status allowed = CheckControl();
  if (!allowed.ok()) return done(allowed);
  bool enqueued = load_thread_.Enqueue([this, name, done] { done(UnloadModel(name)); });
  if (!enqueued) done(base::Unavailable("too many loads wait, or the server is stopping"));
}

std::vector<IndexRow> Repository::Index(bool ready_only) const {
  std::vector<IndexRow> rows;
  std::lock_guard lock(mutex_);
  for (const auto& [name, entry] : entries_) {
    for (const auto& [version, status] : entry.versions) {
      bool is_ready = status.state == State::kReady;
      if (ready_only && !is_ready) continue;
      const char* state =
          StateName(is_ready, status.state == State::kLoading, status.state == State::kUnloading);
      rows.push_back({name, std::to_string(version), state, status.reason});
    }
    if (entry.versions.empty() && !ready_only) {
      bool has_failed = !entry.failure.empty();
      rows.push_back({name, "", has_failed ? "UNAVAILABLE" : "", entry.failure});
    }
  }
  return rows;
}

bool Repository::ready(bool strict) const {
  std::set<std::string> named;
  {
    std::lock_guard lock(mutex_);
    named = named_at_start_;
  }
  if (named.empty()) return true;
  for (const std::string& name : named) {
    bool is_ready = router_.Find(name, "").ok();
    if (strict && !is_ready) return false;
    if (!strict && is_ready) return true;
  }
  return strict;
}

// --- Polling.

void Repository::PollMain() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    changed_.wait_for(lock, std::chrono::nanoseconds(config_.poll_interval.ns),
                      [&] { return stopping_; });
    if (stopping_) return;
    lock.unlock();
    Poll();
    lock.lock();
  }
}

void Repository::Poll() {
  std::promise<void> looked;
  if (!load_thread_.Enqueue([&] {
        PollNow();
        looked.set_value();
      })) {
    return;
  }
  looked.get_future().wait();
}

void Repository::PollNow() {
  base::Result<std::vector<std::string>> found = FindModels();
  if (!found.ok()) {
    Log(LogLevel::kError, "repository_poll_failed").With("reason", found.error().message);
    return;
  }
  std::map<std::string, std::string> known;
  {
    std::lock_guard lock(mutex_);
    for (const auto& [name, entry] : entries_) known[name] = entry.fingerprint;
  }
  for (const std::string& name : *found) {
    base::Result<std::string> now = Fingerprint(name);
    auto before = known.find(name);
    bool changed = before == known.end() || !now.ok() || before->second != *now;
    known.erase(name);
    if (changed) {
      base::Status loaded = LoadModel(name, {});
      // A failure is logged and stands in the index; polling goes on.
      if (!loaded.ok()) continue;
    }
  }
  for (const auto& [name, fingerprint] : known) {
    base::Status unloaded = UnloadModel(name);
    if (!unloaded.ok()) continue;
    router_.Remove(name);
    std::lock_guard lock(mutex_);
    entries_.erase(name);
  }
}

}  // namespace sluice::serve
