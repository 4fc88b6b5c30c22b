#include "serve/repository/config_fields.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <string_view>

namespace sluice::serve {

namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

enum class Verdict {
  kHonoured,
  kNotice,  // accepted: it cannot matter here
  kRefused,
};

struct FieldRule {
  std::string_view path;  // a message's rule without ".": its fields are looked up one by one
  Verdict verdict;
  std::string_view why;
};

constexpr FieldRule kRules[] = {
    {"name", Verdict::kHonoured, ""},
    {"platform", Verdict::kHonoured, ""},
    {"backend", Verdict::kHonoured, ""},
    {"max_batch_size", Verdict::kHonoured, ""},
    {"default_model_filename", Verdict::kHonoured, ""},
    {"parameters", Verdict::kHonoured, ""},
    {"version_policy.latest.num_versions", Verdict::kHonoured, ""},
    {"version_policy.all", Verdict::kHonoured, ""},
    {"version_policy.latest", Verdict::kHonoured, ""},
    {"version_policy.specific.versions", Verdict::kHonoured, ""},
    {"input.name", Verdict::kHonoured, ""},
    {"input.data_type", Verdict::kHonoured, ""},
    {"input.dims", Verdict::kHonoured, ""},
    {"input.optional", Verdict::kHonoured, ""},
    {"input.format", Verdict::kNotice, "the model defines its own layout"},
    {"input.reshape", Verdict::kRefused, "inputs are not reshaped"},
    {"input.allow_ragged_batch", Verdict::kRefused, "ragged batches are not built yet"},
    {"output.name", Verdict::kHonoured, ""},
    {"output.data_type", Verdict::kHonoured, ""},
    {"output.dims", Verdict::kHonoured, ""},
    {"output.reshape", Verdict::kRefused, "outputs are not reshaped"},
    {"output.label_filename", Verdict::kRefused, "classification answers carry no labels"},
    {"dynamic_batching.max_queue_delay_microseconds", Verdict::kHonoured, ""},
    {"dynamic_batching.priority_levels", Verdict::kHonoured, ""},
    {"dynamic_batching.default_priority_level", Verdict::kHonoured, ""},
    {"dynamic_batching.default_queue_policy.default_timeout_microseconds", Verdict::kHonoured, ""},
    {"dynamic_batching.default_queue_policy.max_queue_size", Verdict::kHonoured, ""},
    {"dynamic_batching.default_queue_policy.allow_timeout_override", Verdict::kNotice,
     "a request may always bring its own timeout"},
    {"dynamic_batching.default_queue_policy.timeout_action", Verdict::kRefused,
     "a request past its deadline is dropped (REJECT), never delayed"},
    {"dynamic_batching.preferred_batch_size", Verdict::kNotice,
     "steps take what waits, up to max_batch_size"},
    {"dynamic_batching.preserve_ordering", Verdict::kRefused, "answers leave as they are ready"},
    {"dynamic_batching.priority_queue_policy", Verdict::kRefused,
     "one queue policy serves all priorities"},
    {"sequence_batching", Verdict::kRefused, "sequence batching is not built"},
    {"ensemble_scheduling", Verdict::kRefused, "ensembles are not built"},
    {"instance_group.name", Verdict::kNotice, "the device's loop runs all instances"},
    {"instance_group.kind", Verdict::kNotice, "the model runs on this server's device"},
    {"instance_group.count", Verdict::kNotice, "the device's loop runs all instances"},
    {"instance_group.gpus", Verdict::kNotice, "the model runs on this server's device"},
    {"instance_group.profile", Verdict::kNotice, "profiles belong to TensorRT"},
    {"instance_group.host_policy", Verdict::kNotice,
     "host policies belong to Triton's command line"},
    {"instance_group.rate_limiter", Verdict::kNotice, "there is no rate limiter to tell"},
    {"optimization.graph", Verdict::kNotice, "the graph's passes are always on"},
    {"optimization.priority", Verdict::kNotice, "deadlines and request priorities decide"},
    {"optimization.cuda", Verdict::kNotice, "the model runs on a CPU"},
    {"optimization.execution_accelerators", Verdict::kNotice, "the engine has its own kernels"},
    {"optimization.input_pinned_memory", Verdict::kNotice, "the model runs on a CPU"},
    {"optimization.output_pinned_memory", Verdict::kNotice, "the model runs on a CPU"},
    {"optimization.gather_kernel_buffer_threshold", Verdict::kNotice, "the model runs on a CPU"},
    {"optimization.eager_batching", Verdict::kNotice, "batching is always work-conserving"},
    {"model_warmup.name", Verdict::kHonoured, ""},
    {"model_warmup.batch_size", Verdict::kHonoured, ""},
    {"model_warmup.count", Verdict::kHonoured, ""},
    {"model_warmup.inputs.data_type", Verdict::kHonoured, ""},
    {"model_warmup.inputs.dims", Verdict::kHonoured, ""},
    {"model_warmup.inputs.zero_data", Verdict::kHonoured, ""},
    {"model_warmup.inputs.random_data", Verdict::kHonoured, ""},
    {"model_warmup.inputs.input_data_file", Verdict::kHonoured, ""},
    {"response_cache", Verdict::kNotice, "there is no response cache: every request is computed"},
    {"model_metrics", Verdict::kNotice, "the histograms have fixed buckets"},
    {"model_transaction_policy.decoupled", Verdict::kRefused, "decoupled models are not built"},
};

const FieldRule* FindRule(std::string_view path) {
  for (const FieldRule& rule : kRules) {
    if (rule.path == path) return &rule;
  }
  return nullptr;
}

bool HasRulesBelow(std::string_view path) {
  for (const FieldRule& rule : kRules) {
    if (rule.path.size() > path.size() && rule.path.starts_with(path) &&
        rule.path[path.size()] == '.')
      return true;
  }
  return false;
}

class Walker {
 public:
  base::Status Walk(const Message& message, const std::string& prefix) {
    const Reflection& reflection = *message.GetReflection();
    std::vector<const FieldDescriptor*> set;
    reflection.ListFields(message, &set);
    for (const FieldDescriptor* field : set) TRY(Visit(message, *field, prefix + field->name()));
    return base::Ok();
  }
  std::vector<std::string> notices;

 private:
  base::Status Visit(const Message& message, const FieldDescriptor& field,
                     const std::string& path) {
    // The most detailed rule wins: a message with rules below it is walked.
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE && HasRulesBelow(path)) {
      return Descend(message, field, path);
    }
    const FieldRule* rule = FindRule(path);
    if (rule == nullptr) return base::Unimplemented("config field '" + path + "' is not supported");
    if (rule->verdict == Verdict::kRefused) {
      return base::Unimplemented("config field '" + path +
                                 "' is not supported: " + std::string(rule->why));
    }
    if (rule->verdict == Verdict::kNotice) {
      std::string notice = path + ": " + std::string(rule->why);
      if (notices.empty() || notices.back() != notice) notices.push_back(std::move(notice));
    }
    return base::Ok();
  }

  base::Status Descend(const Message& message, const FieldDescriptor& field,
                       const std::string& path) {
    const Reflection& reflection = *message.GetReflection();
    if (!field.is_repeated()) return Walk(reflection.GetMessage(message, &field), path + ".");
    for (int i = 0; i < reflection.FieldSize(message, &field); ++i) {
      const Message& element = reflection.GetRepeatedMessage(message, &field, i);
      if (!field.is_map()) {
        TRY(Walk(element, path + "."));
        continue;
      }
      // A map's key is a name; what it says is in its value.
      const FieldDescriptor& value = *element.GetDescriptor()->map_value();
      TRY(Walk(element.GetReflection()->GetMessage(element, &value), path + "."));
    }
    return base::Ok();
  }
};

}  // namespace

base::Result<std::vector<std::string>> CheckConfigFields(const inference::ModelConfig& config) {
  Walker walker;
  TRY(walker.Walk(config, ""));
  return std::move(walker.notices);
}

}  // namespace sluice::serve
