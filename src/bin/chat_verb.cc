// `sluice chat`: talks with a language model in the terminal, without a server.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <optional>
#include <random>
#include <string>

#include "base/log.h"
#include "bin/command.h"
#include "bin/conversation.h"
#include "bin/hub/model_place.h"
#include "bin/local_model.h"
#include "bin/serve_flags.h"
#include "bin/verbs.h"
#include "lm/linear/linear_form.h"

namespace sluice::bin {
namespace {

constexpr Usage kUsage = {
    "chat", "DIR|ORG/NAME",
    "Talk with a language model. Ctrl-C ends an answer, Ctrl-D the talk; /reset forgets it.",
    "sluice chat Qwen/Qwen2.5-0.5B-Instruct --weights int8"};

constexpr size_t kLineBytesMax = size_t{1} << 20;

std::atomic<bool> g_interrupted{false};

void Interrupt(int) {
  g_interrupted.store(true);
}

// Lines of standard input, which a signal may interrupt.
class LineReader {
 public:
  enum class End { kLine, kEnd, kInterrupted };
  End Read(std::string& line) {
    for (;;) {
      const size_t end = buffer_.find('\n');
      if (end != std::string::npos || (ended_ && !buffer_.empty())) {
        line = buffer_.substr(0, end);
        buffer_.erase(0, end == std::string::npos ? buffer_.size() : end + 1);
        return End::kLine;
      }
      if (ended_) return End::kEnd;
      char bytes[4096];
      const ssize_t got = read(STDIN_FILENO, bytes, sizeof bytes);
      if (got < 0 && errno == EINTR) return End::kInterrupted;
      if (got <= 0 || buffer_.size() > kLineBytesMax) {
        ended_ = true;
        continue;
      }
      buffer_.append(bytes, static_cast<size_t>(got));
    }
  }

 private:
  std::string buffer_;
  bool ended_ = false;
};

struct Settings {
  LocalModel::Options model;
  Conversation::Options talk;
  std::string file;
  double temperature = 0.7;
  double top_p = 0.95;
  double min_p = 0;
  double repetition_penalty = 1;
  int64_t top_k = 0;
  int64_t seed = -1;
  int64_t max_tokens = 0;
  std::vector<std::string> parameters;
};

std::vector<Flag> Flags(Settings& s) {
  return {
      {"system", &s.talk.system, "TEXT", "what the model is told before the talk begins"},
      {"temperature", &s.temperature, "X", "0: always the likeliest token"},
      {"top-p", &s.top_p, "X", "the fewest likely tokens that reach this probability"},
      {"top-k", &s.top_k, "N", "that many of the likeliest tokens; 0: all"},
      {"min-p", &s.min_p, "X", "none less likely than this share of the likeliest"},
      {"repetition-penalty", &s.repetition_penalty, "X", "above 1: against repeating"},
      {"seed", &s.seed, "N", "the same answers every time; -1: others each time"},
      {"max-tokens", &s.max_tokens, "N", "of an answer; 0: as many as the context takes"},
      {"weights",
       FlagSetter{[&s](std::string_view text) -> base::Status {
                    (void)TRY(lm::LinearForm::Parse(text));
                    s.model.runtime.weights = std::string(text);
                    return base::Ok();
                  },
                  "as the file has them, else f32", false},
       "FORM", "what linear layers keep their weights as: f32, bf16, int8, …"},
      {"compute-threads", &s.model.runtime.compute_threads, "N",
       "threads that compute; 0: one a core of this container"},
      {"file", &s.file, "NAME.gguf", "of a folder or repository of GGUF files"},
      {"set", &s.parameters, "KEY=VALUE", "a parameter as of config.pbtxt; may repeat"},
  };
}

base::Status FillParameters(Settings& s) {
  engine::Parameters& to = s.talk.parameters;
  to.emplace_back("temperature", s.temperature);
  to.emplace_back("top_p", s.top_p);
  to.emplace_back("min_p", s.min_p);
  to.emplace_back("repetition_penalty", s.repetition_penalty);
  to.emplace_back("top_k", s.top_k);
  to.emplace_back("seed", s.seed >= 0 ? s.seed : static_cast<int64_t>(std::random_device()()));
  if (s.max_tokens > 0) {
    to.emplace_back("max_tokens", s.max_tokens);
  } else {
    to.emplace_back("fill_context", true);
  }
  for (const std::string& parameter : s.parameters) {
    const size_t equals = parameter.find('=');
    if (equals == 0 || equals == std::string::npos) {
      return base::InvalidArgument("--set: expected KEY=VALUE, got '" + parameter + "'");
    }
    s.model.parameters[parameter.substr(0, equals)] = parameter.substr(equals + 1);
  }
  return base::Ok();
}

// What a person sees besides the answers: on standard error, dim where that is a terminal.
class Margin {
 public:
  void Say(const std::string& line) const {
    std::fflush(stdout);
    std::fprintf(stderr, "%s%s%s\n", terminal_ ? "\x1b[2m" : "", line.c_str(),
                 terminal_ ? "\x1b[0m" : "");
  }
  void Tell(const AnswerFigures& figures) const {
    if (figures.cancelled) return Say("(stopped)");
    char text[160];
    std::snprintf(text, sizeof text,
                  "%lld tokens of prompt (%lld cached), %lld of answer, %.0f ms to the first",
                  static_cast<long long>(figures.prompt_tokens),
                  static_cast<long long>(figures.cached_tokens),
                  static_cast<long long>(figures.answer_tokens), figures.to_first.us() / 1e3);
    std::string line = text;
    // What took next to no time has no rate.
    if (figures.answer_tokens > 1 && figures.behind_first > base::Duration::Millis(20)) {
      std::snprintf(
          text, sizeof text, ", then %.1f a second",
          static_cast<double>(figures.answer_tokens - 1) / figures.behind_first.seconds());
      line += text;
    }
    Say(line);
  }

 private:
  const bool terminal_ = isatty(STDERR_FILENO) == 1;
};

// False: the talk is over.
bool Obey(const std::string& line, Conversation& talk, const Margin& margin) {
  if (line == "/exit" || line == "/quit") return false;
  if (line == "/reset") {
    talk.Reset();
    margin.Say("Forgotten.");
  } else {
    margin.Say("/reset forgets the talk, /exit ends it; Ctrl-C ends an answer.");
  }
  return true;
}

base::Status Answer(const std::string& line, Conversation& talk, const Margin& margin) {
  g_interrupted.store(false);
  const auto show = [](std::string_view piece) {
    std::fwrite(piece.data(), 1, piece.size(), stdout);
    std::fflush(stdout);
  };
  const Conversation::Asked asked = TRY(talk.Ask(line, show));
  std::printf("\n");
  std::fflush(stdout);
  if (asked.forgotten > 0) {
    margin.Say("(the oldest " + std::to_string(asked.forgotten) +
               " exchanges no longer fit and are forgotten)");
  }
  margin.Tell(asked.figures);
  g_interrupted.store(false);
  return base::Ok();
}

// Until standard input ends. The last error, where it is not a person who sees it.
base::Status Talk(Conversation& talk) {
  const bool terminal = isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1;
  const Margin margin;
  if (!talk.is_chat()) {
    margin.Say("Every text is continued for itself: " + talk.why_not());
  }
  LineReader reader;
  std::string line;
  for (;;) {
    if (terminal) {
      std::fputs("\x1b[1m> \x1b[0m", stdout);
      std::fflush(stdout);
    }
    const LineReader::End end = reader.Read(line);
    if (end == LineReader::End::kEnd) break;
    if (end == LineReader::End::kInterrupted) {
      if (!terminal) break;
      std::fputs("\n", stdout);
      margin.Say("Ctrl-D ends the talk.");
      continue;
    }
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    if (line[0] == '/') {
      if (!Obey(line, talk, margin)) break;
      continue;
    }
    const base::Status answered = Answer(line, talk, margin);
    if (answered.ok()) continue;
    if (!terminal) return answered;
    margin.Say(answered.error().message);
  }
  if (terminal) std::fputs("\n", stdout);
  return base::Ok();
}

}  // namespace

int RunChat(const Arguments& arguments) {
  Settings settings;
  int exit_code = kExitOk;
  const auto positional = ParseCommand(kUsage, Flags(settings), arguments, 1, 1, exit_code);
  if (!positional) return exit_code;
  const auto run = [&]() -> base::Status {
    TRY(FillParameters(settings));
    base::SetLogLevel(base::LogLevel::kWarning);
    const ModelPlace place = TRY(FindModel(positional->front(), settings.file));
    const std::unique_ptr<LocalModel> model = TRY(LocalModel::Load(place, settings.model));
    struct sigaction action {};
    action.sa_handler = Interrupt;  // without SA_RESTART: a read is interrupted
    sigaction(SIGINT, &action, nullptr);
    settings.talk.stop = &g_interrupted;
    Conversation talk(*model, settings.talk);
    TRY(talk.CheckModel());
    return Talk(talk);
  };
  const base::Status done = run();
  return done.ok() ? kExitOk : Fail(kUsage, done.error());
}

}  // namespace sluice::bin
