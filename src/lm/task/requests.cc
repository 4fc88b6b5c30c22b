#include "lm/task/requests.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "lm/generation.h"
#include "lm/task/embed_group.h"
#include "lm/task/generate_group.h"
#include "lm/task/score_group.h"
#include "lm/task/scoring.h"
#include "lm/task/text_task.h"
#include "lm/task_names.h"

namespace sluice::lm {
namespace {

base::Result<std::string> ReadTask(const LanguageModel& model, const engine::Request& request) {
  const std::vector<std::string>& tasks = model.description.tasks;
  std::string task = tasks[0];
  ParameterReader reader(request.parameters);
  TRY(reader.Text(kTask, 64, task));
  if (std::find(tasks.begin(), tasks.end(), task) != tasks.end()) return task;
  std::string known;
  for (const std::string& own : tasks) known += (known.empty() ? "" : ", ") + own;
  return base::InvalidArgument("parameter task: model " + model.description.model +
                               " does not do \"" + task + "\"; expected " + known);
}

ScoringModel ScoringModelOf(const LanguageModel& model) {
  ScoringModel scoring;
  scoring.limits.vocabulary = model.limits.vocabulary;
  scoring.limits.length_max = model.limits.length_max;
  scoring.text = model.text.get();
  scoring.classes = model.decoder.config().classes;
  scoring.hidden = model.decoder.config().hidden;
  scoring.pooling = model.options.pooling;
  scoring.normalize = model.options.normalize;
  scoring.modules = model.options.modules.get();
  return scoring;
}

}  // namespace

base::Status PrepareRequest(const LanguageModel& model, engine::Request& request) {
  request.answer = TRY(AnswerTextTask(request, {model.text.get(), model.description.model,
                                                model.limits.vocabulary, model.limits.length_max}));
  if (request.answer.has_value()) return base::Ok();
  const std::string task = TRY(ReadTask(model, request));
  if (task == kTaskEmbed) {
    auto embedding = std::make_unique<Embedding>();
    TRY(ReadEmbedding(request, ScoringModelOf(model), *embedding));
    request.prepared = std::make_unique<EmbedGroup>(std::move(embedding));
  } else if (task == kTaskScore && model.options.embeds) {
    auto embedding = std::make_unique<Embedding>();
    TRY(ReadComparison(request, ScoringModelOf(model), *embedding));
    request.prepared = std::make_unique<EmbedGroup>(std::move(embedding));
  } else if (task == kTaskScore) {
    auto scoring = std::make_unique<Scoring>();
    scoring->relevance = model.rerank.has_value() && AsksForRanking(request);
    if (scoring->relevance) {
      TRY(WriteInForm(*model.rerank, *model.text, model.limits.length_max, request));
    }
    TRY(ReadScoring(request, ScoringModelOf(model), *scoring));
    request.prepared = std::make_unique<ScoreGroup>(model, std::move(scoring));
  } else {
    auto generation = std::make_unique<Generation>();
    TRY(ReadGeneration(request, model.limits, model.text.get(), *generation));
    request.prepared = std::make_unique<GenerateGroup>(model, std::move(generation));
  }
  request.rows = 1;
  return base::Ok();
}

}  // namespace sluice::lm
