// `sluice eval`: what forms of a language model's weights cost, on a text: perplexity, and how far
// they are from the reference token by token.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "base/machine.h"
#include "base/thread_pool.h"
#include "bin/command.h"
#include "bin/divergence.h"
#include "bin/hub/model_place.h"
#include "bin/hub/pull_progress.h"
#include "bin/verbs.h"
#include "lm/decoder/forced_run.h"
#include "lm/model_folder.h"

namespace sluice::bin {
namespace {

constexpr Usage kUsage = {"eval", "DIR|ORG/NAME",
                          "Measure what forms of a language model's weights cost: perplexity of a "
                          "text, and divergence from f32 token by token.",
                          "sluice eval models/writer/1 --text held_out.txt --weights bf16,int8"};

constexpr int64_t kTextBytesMax = int64_t{256} << 20;
constexpr int64_t kTokensMax = int64_t{1} << 24;
constexpr int64_t kLogitBytesMax = int64_t{64} << 20;  // of a step, for each form
constexpr double kExponentialNs = 8;
constexpr size_t kFormsMax = 16;
constexpr base::Duration kTellEvery = base::Duration::Seconds(1);
constexpr base::Duration kTellEveryInLogs = base::Duration::Seconds(30);

struct Settings {
  std::string text;
  std::string weights = "bf16,int8";
  std::string reference = "f32";
  std::string file;
  int64_t context = 512;
  int64_t stride = 0;
  int64_t tokens_max = 0;
  int64_t threads = 0;
  bool json = false;
};

struct EvaluatedForm {
  std::string name;
  std::unique_ptr<const lm::Decoder> decoder;
  std::unique_ptr<lm::ForcedRun> run;
  std::vector<PositionScore> scores;
  TextScore summary;
};

struct Evaluation {
  std::string model;
  int64_t tokens = 0;
  int64_t context = 0;
  int64_t stride = 0;
  std::vector<EvaluatedForm> forms;  // the reference first
};

// "bf16,int8" apart.
std::vector<std::string> Names(const std::string& list) {
  std::vector<std::string> names;
  for (size_t begin = 0; begin <= list.size();) {
    const size_t end = std::min(list.find(',', begin), list.size());
    if (end > begin) names.push_back(list.substr(begin, end - begin));
    begin = end + 1;
  }
  return names;
}

// How far it is, for a person: on standard error.
class Told {
 public:
  explicit Told(int64_t positions) : positions_(positions) {}
  ~Told() {
    if (told_ && terminal_) std::fprintf(stderr, "\r%*s\r", 60, "");
  }
  void Add(int64_t positions) {
    done_ += positions;
    const base::Time now = base::SystemClock::Get().Now();
    if (now - last_ < (terminal_ ? kTellEvery : kTellEveryInLogs)) return;
    last_ = now;
    told_ = true;
    const double seconds = (now - begun_).seconds();
    const double left =
        seconds / static_cast<double>(done_) * static_cast<double>(positions_ - done_);
    std::fprintf(stderr,
                 terminal_ ? "\r%lld of %lld positions, %.0f s left   "
                           : "%lld of %lld positions, %.0f s left\n",
                 static_cast<long long>(done_), static_cast<long long>(positions_), left);
    std::fflush(stderr);
  }

 private:
  const int64_t positions_;
  const bool terminal_ = isatty(STDERR_FILENO) == 1;
  const base::Time begun_ = base::SystemClock::Get().Now();
  base::Time last_ = begun_;
  int64_t done_ = 0;
  bool told_ = false;
};

base::Status CheckSettings(const Settings& s) {
  if (s.text.empty()) return base::InvalidArgument("--text is missing: a file of text");
  if (s.context < 2 || s.context > kTokensMax) {
    return base::InvalidArgument("--context: expected 2 tokens or more, got " +
                                 std::to_string(s.context));
  }
  if (s.stride < 0 || s.stride >= s.context) {
    return base::InvalidArgument("--stride: expected 1 to " + std::to_string(s.context - 1) +
                                 " tokens, or 0 for half the context, got " +
                                 std::to_string(s.stride));
  }
  return base::Ok();
}

base::Result<std::vector<int32_t>> ReadTokens(const Settings& s, const lm::DecoderSources& folder) {
  if (folder.text == nullptr) {
    return base::InvalidArgument("the model has no tokenizer: expected a tokenizer.json beside it");
  }
  const std::string text = TRY(base::ReadFile(s.text, kTextBytesMax));
  std::vector<int32_t> tokens = TRY(folder.text->Encode(text, kTokensMax));
  if (s.tokens_max > 0 && static_cast<int64_t>(tokens.size()) > s.tokens_max) {
    tokens.resize(static_cast<size_t>(s.tokens_max));
  }
  if (tokens.size() < 2) {
    return base::InvalidArgument("'" + s.text + "': expected a text of two tokens or more");
  }
  return tokens;
}

base::Status LoadForms(const Settings& s, const lm::DecoderSources& folder, int64_t window,
                       base::ThreadPool& pool, Evaluation& evaluation) {
  std::vector<std::string> names = {s.reference};
  for (const std::string& name : Names(s.weights)) {
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  if (names.size() > kFormsMax) {
    return base::InvalidArgument("--weights: expected at most " + std::to_string(kFormsMax - 1) +
                                 " forms");
  }
  lm::ForcedRun::Options options;
  options.length_max = window;
  options.rows_max = std::clamp<int64_t>(kLogitBytesMax / 4 / folder.decoder.vocabulary, 8, 128);
  options.pool = &pool;
  for (const std::string& name : names) {
    lm::Decoder::Options decoder;
    decoder.form = TRY(lm::LinearForm::Parse(name));
    decoder.length_max = window;
    EvaluatedForm form;
    form.name = name;
    form.decoder = std::make_unique<const lm::Decoder>(
        TRY(lm::Decoder::Load(*folder.checkpoint, folder.decoder, decoder)));
    form.run = std::make_unique<lm::ForcedRun>(*form.decoder, options);
    form.scores.resize(static_cast<size_t>(evaluation.tokens - 1));
    evaluation.forms.push_back(std::move(form));
  }
  return base::Ok();
}

// Scores what the tokens from `first` on are, each expected from those of [begin, it) alone.
void ScoreWindow(const std::vector<int32_t>& tokens, int64_t begin, int64_t end, int64_t first,
                 base::ThreadPool& pool, Evaluation& evaluation) {
  std::vector<EvaluatedForm>& forms = evaluation.forms;
  for (EvaluatedForm& form : forms) {
    form.run->Begin({tokens.begin() + begin, tokens.begin() + end});
  }
  const auto vocabulary = static_cast<size_t>(forms[0].decoder->head_width());
  std::vector<std::span<const float>> logits(forms.size());
  for (int64_t at = begin; at < end;) {
    for (size_t i = 0; i < forms.size(); ++i) logits[i] = forms[i].run->Next();
    const auto rows = static_cast<int64_t>(logits[0].size() / vocabulary);
    const auto score = [&](int64_t row, int64_t to) {
      for (; row < to; ++row) {
        const int64_t next = at + row + 1;
        if (next < first || next >= end) continue;
        const size_t offset = static_cast<size_t>(row) * vocabulary;
        const Expectation reference = Expect(logits[0].subspan(offset, vocabulary));
        for (size_t i = 0; i < forms.size(); ++i) {
          forms[i].scores[static_cast<size_t>(next - 1)] = ScorePosition(
              reference, logits[i].subspan(offset, vocabulary), tokens[static_cast<size_t>(next)]);
        }
      }
    };
    const double row_ns = static_cast<double>(vocabulary * forms.size()) * kExponentialNs;
    pool.ParallelFor(rows, row_ns, score);
    at += rows;
  }
}

base::Result<Evaluation> Evaluate(const Settings& s, const std::string& given) {
  TRY(CheckSettings(s));
  const ModelPlace place = TRY(FindModel(given, s.file));
  const lm::DecoderSources folder = TRY(lm::OpenDecoderFolder(place.folder, place.file));
  const std::vector<int32_t> tokens = TRY(ReadTokens(s, folder));
  Evaluation evaluation;
  evaluation.model = place.name;
  evaluation.tokens = static_cast<int64_t>(tokens.size());
  evaluation.context = std::min({s.context, folder.decoder.context_max, evaluation.tokens});
  evaluation.stride = s.stride > 0 ? std::min(s.stride, evaluation.context)
                                   : std::max<int64_t>(1, evaluation.context / 2);
  base::ThreadPool::Options pool_options;
  const int64_t threads = s.threads > 0 ? s.threads : base::DescribeMachine().cores;
  pool_options.workers = static_cast<int>(std::clamp<int64_t>(threads - 1, 0, 1023));
  base::ThreadPool pool(pool_options);
  TRY(LoadForms(s, folder, evaluation.context, pool, evaluation));
  Told told(evaluation.tokens - 1);
  int64_t first = 1;
  for (int64_t begin = 0; first < evaluation.tokens; begin += evaluation.stride) {
    const int64_t end = std::min(begin + evaluation.context, evaluation.tokens);
    ScoreWindow(tokens, begin, end, first, pool, evaluation);
    told.Add(end - first);
    first = end;
  }
  for (EvaluatedForm& form : evaluation.forms) form.summary = Summarise(form.scores);
  return evaluation;
}

void PrintTable(const Evaluation& evaluation) {
  std::printf("%s: %lld tokens, context %lld, stride %lld; divergence from %s in nats\n\n",
              evaluation.model.c_str(), static_cast<long long>(evaluation.tokens),
              static_cast<long long>(evaluation.context), static_cast<long long>(evaluation.stride),
              evaluation.forms[0].name.c_str());
  std::printf("%-14s %9s %11s %9s %10s %10s %10s %8s\n", "weights", "size", "perplexity", "change",
              "mean KL", "99 % KL", "max KL", "top-1");
  for (const EvaluatedForm& form : evaluation.forms) {
    const TextScore& score = form.summary;
    std::printf("%-14s %9s %11.4f", form.name.c_str(),
                SizeText(form.decoder->weight_bytes()).c_str(), score.perplexity);
    if (&form == evaluation.forms.data()) {
      std::printf("\n");
      continue;
    }
    const double change = score.perplexity / evaluation.forms[0].summary.perplexity - 1;
    std::printf(" %+8.2f%% %10.3g %10.3g %10.3g %7.2f%%\n", change * 100, score.divergence_mean,
                score.divergence_99, score.divergence_max, score.agreement * 100);
  }
}

void PrintJson(const Evaluation& evaluation) {
  std::string out;
  base::JsonWriter json(out);
  json.BeginObject().Key("model").String(evaluation.model);
  json.Key("tokens").Int(evaluation.tokens).Key("context").Int(evaluation.context);
  json.Key("stride").Int(evaluation.stride).Key("reference").String(evaluation.forms[0].name);
  json.Key("forms").BeginArray();
  for (const EvaluatedForm& form : evaluation.forms) {
    const TextScore& score = form.summary;
    json.BeginObject().Key("weights").String(form.name);
    json.Key("weight_bytes").Int(form.decoder->weight_bytes());
    json.Key("positions").Int(score.positions).Key("perplexity").Double(score.perplexity);
    json.Key("kl_mean").Double(score.divergence_mean).Key("kl_99").Double(score.divergence_99);
    json.Key("kl_max").Double(score.divergence_max).Key("top1").Double(score.agreement);
    json.EndObject();
  }
  json.EndArray().EndObject();
  std::printf("%s\n", out.c_str());
}

}  // namespace

int RunEval(const Arguments& arguments) {
  Settings settings;
  const std::vector<Flag> flags = {
      {"text", &settings.text, "FILE", "what the model is measured on"},
      {"weights", &settings.weights, "FORM,…", "what is compared: bf16, int8, int4, …"},
      {"reference", &settings.reference, "FORM", "what it is compared with"},
      {"context", &settings.context, "N", "tokens that a token is expected from, at most"},
      {"stride", &settings.stride, "N", "tokens from one window to the next; 0: half the context"},
      {"tokens-max", &settings.tokens_max, "N", "of the text; 0: all"},
      {"file", &settings.file, "NAME.gguf", "of a folder or repository of GGUF files"},
      {"compute-threads", &settings.threads, "N", "0: one a core of this container"},
      {"json", &settings.json, "", "one JSON object instead of the table"},
  };
  int exit_code = kExitOk;
  const auto positional = ParseCommand(kUsage, flags, arguments, 1, 1, exit_code);
  if (!positional) return exit_code;
  base::SetLogLevel(base::LogLevel::kWarning);
  const base::Result<Evaluation> evaluation = Evaluate(settings, positional->front());
  if (!evaluation.ok()) return Fail(kUsage, evaluation.error());
  settings.json ? PrintJson(*evaluation) : PrintTable(*evaluation);
  return kExitOk;
}

}  // namespace sluice::bin
