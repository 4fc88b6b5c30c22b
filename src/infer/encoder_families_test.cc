// Tiny encoders as two exporters write them (tests/conformance/encoders), served without their
// padding, against answers that PyTorch computed.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/json.h"
#include "graph/test_graph.h"
#include "infer/direct_runner.h"
#include "infer/prepared_request.h"

namespace sluice::infer {
namespace {

using tensor::DType;
using tensor::Shape;
using tensor::Tensor;

const std::string kFolder = "tests/conformance/encoders";

// A fixture's answers, rows padded to the longest.
struct Answers {
  std::vector<int64_t> lengths;
  std::vector<tensor::NamedTensor> inputs;
  std::vector<float> hidden, sentence;
};

std::vector<double> Numbers(base::JsonValue value) {
  std::vector<double> numbers(static_cast<size_t>(value.CountScalars()));
  CHECK(value.ReadNumbers(std::span(numbers)).ok());
  return numbers;
}

Answers ReadAnswers(const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  base::JsonDocument document;
  const base::JsonValue root = document.Parse(text.str()).value();
  Answers answers;
  for (const double length : Numbers(root.Get("lengths").value())) {
    answers.lengths.push_back(static_cast<int64_t>(length));
  }
  const base::Status read = root.Get("inputs").value().ForEachMember(
      [&](std::string_view name, base::JsonValue value) -> base::Status {
        const std::vector<double> numbers = Numbers(value);
        const int64_t rows = static_cast<int64_t>(answers.lengths.size());
        const int64_t count = static_cast<int64_t>(numbers.size());
        Tensor tensor = Tensor::Allocate(DType::kI64, Shape({rows, count / rows}), 1 << 20).value();
        for (size_t i = 0; i < numbers.size(); ++i) {
          tensor.mutable_view().as<int64_t>()[i] = static_cast<int64_t>(numbers[i]);
        }
        answers.inputs.push_back({std::string(name), tensor});
        return base::Ok();
      });
  CHECK(read.ok());
  const base::JsonValue outputs = root.Get("outputs").value();
  for (const double x : Numbers(outputs.Get("hidden").value())) {
    answers.hidden.push_back(static_cast<float>(x));
  }
  for (const double x : Numbers(outputs.Get("sentence_embedding").value())) {
    answers.sentence.push_back(static_cast<float>(x));
  }
  return answers;
}

std::vector<std::string> Families() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder)) {
    if (entry.path().extension() == ".onnx") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

class EncoderFamilyTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    Options options;
    options.model = GetParam();
    options.model_file = GetParam() + ".onnx";
    base::Result<std::shared_ptr<const ServedModel>> served = LoadServedModel(kFolder, options);
    ASSERT_TRUE(served.ok()) << served.error().message;
    runner_ = std::make_unique<DirectRunner>(std::move(served).value(), DirectRunner::Options{});
    answers_ = ReadAnswers(kFolder + "/" + GetParam() + ".json");
  }
  const graph::Model& model() const { return *runner_->served().graph; }
  std::vector<tensor::NamedTensor> Run(const std::vector<tensor::NamedTensor>& inputs) {
    auto request = std::make_unique<engine::Request>();
    for (const tensor::NamedTensor& input : inputs) {
      for (const graph::TensorInterface& wanted : model().inputs()) {
        if (wanted.name == input.name) request->inputs.push_back(input);
      }
    }
    base::Result<std::vector<tensor::NamedTensor>> outputs = runner_->Run(std::move(request));
    CHECK(outputs.ok()) << outputs.error().message;
    return std::move(outputs).value();
  }

  std::unique_ptr<DirectRunner> runner_;
  Answers answers_;
};

TEST_P(EncoderFamilyTest, AnswersAsPyTorchDoes) {
  const std::vector<tensor::NamedTensor> outputs = Run(answers_.inputs);
  ASSERT_EQ(outputs.size(), 2U);
  const int64_t rows = static_cast<int64_t>(answers_.lengths.size());
  const int64_t longest = outputs[0].tensor.shape[1];
  const int64_t width = outputs[0].tensor.shape[2];
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t i = 0; i < longest * width; ++i) {
      const int64_t at = row * longest * width + i;
      const float got = outputs[0].tensor.view().as<float>()[at];
      if (i < answers_.lengths[static_cast<size_t>(row)] * width) {
        EXPECT_NEAR(got, answers_.hidden[static_cast<size_t>(at)], 2e-4F) << row << " " << i;
      } else if (model().ragged() != nullptr) {
        EXPECT_EQ(got, 0.0F) << "padding of row " << row;
      }
    }
  }
  for (int64_t i = 0; i < rows * width; ++i) {
    EXPECT_NEAR(outputs[1].tensor.view().as<float>()[i], answers_.sentence[static_cast<size_t>(i)],
                1e-4F);
  }
}

TEST_P(EncoderFamilyTest, RunsWithoutPadding) {
  EXPECT_NE(model().ragged(), nullptr) << model().ragged_reason();
}

TEST_P(EncoderFamilyTest, AnswersPackedAsItDoesPadded) {
  ASSERT_NE(model().ragged(), nullptr) << model().ragged_reason();
  std::vector<Tensor> inputs;
  for (const graph::TensorInterface& wanted : model().inputs()) {
    for (const tensor::NamedTensor& input : answers_.inputs) {
      if (wanted.name == input.name) inputs.push_back(input.tensor);
    }
  }
  // The same model over a padded batch, as it runs what its packed form does not take.
  const base::Result<std::vector<Tensor>> padded = graph::RunCompiled(model(), inputs);
  ASSERT_TRUE(padded.ok()) << padded.error().message;
  const std::vector<tensor::NamedTensor> packed = Run(answers_.inputs);
  ASSERT_EQ(packed.size(), padded->size());
  const int64_t longest = packed[0].tensor.shape[1], width = packed[0].tensor.shape[2];
  for (size_t output = 0; output < packed.size(); ++output) {
    ASSERT_EQ(packed[output].tensor.shape, (*padded)[output].shape);
    const int64_t rows = packed[output].tensor.shape[0];
    const int64_t row_size = packed[output].tensor.shape.elements() / rows;
    for (int64_t i = 0; i < rows * row_size; ++i) {
      const int64_t length = answers_.lengths[static_cast<size_t>(i / row_size)];
      if (output == 0 && i % (longest * width) >= length * width) continue;  // padding
      EXPECT_NEAR(packed[output].tensor.view().as<float>()[i],
                  (*padded)[output].view().as<float>()[i], 2e-5F)
          << "output " << output << " element " << i;
    }
  }
}

TEST_P(EncoderFamilyTest, AnswersWithTheSameBitsAloneAsInCompany) {
  const std::vector<tensor::NamedTensor> together = Run(answers_.inputs);
  const int64_t longest = together[0].tensor.shape[1], width = together[0].tensor.shape[2];
  for (size_t row = 0; row < answers_.lengths.size(); ++row) {
    const int64_t length = answers_.lengths[row];
    std::vector<tensor::NamedTensor> inputs;
    for (const tensor::NamedTensor& input : answers_.inputs) {
      Tensor own = Tensor::Allocate(DType::kI64, Shape({1, length}), 1 << 20).value();
      const int64_t* const from =
          input.tensor.view().as<int64_t>() + static_cast<int64_t>(row) * longest;
      std::copy(from, from + length, own.mutable_view().as<int64_t>());
      inputs.push_back({input.name, std::move(own)});
    }
    const std::vector<tensor::NamedTensor> alone = Run(inputs);
    const auto same = [&](size_t output, int64_t at, int64_t count) {
      return std::memcmp(alone[output].tensor.view().as<float>(),
                         together[output].tensor.view().as<float>() + at,
                         static_cast<size_t>(count) * sizeof(float)) == 0;
    };
    const auto index = static_cast<int64_t>(row);
    EXPECT_TRUE(same(0, index * longest * width, length * width)) << "hidden states, row " << row;
    EXPECT_TRUE(same(1, index * width, width)) << "sentence, row " << row;
  }
}

TEST_P(EncoderFamilyTest, TurnsQueriesAndKeysByOneKernelEach) {
  if (!GetParam().starts_with("modernbert")) return;
  const std::string graph = model().DumpGraph();
  int count = 0;
  for (size_t at = graph.find("FusedRotary("); at != std::string::npos;
       at = graph.find("FusedRotary(", at + 1)) {
    ++count;
  }
  EXPECT_EQ(count, 4);  // two layers
}

INSTANTIATE_TEST_SUITE_P(Families, EncoderFamilyTest, ::testing::ValuesIn(Families()),
                         [](const auto& family) { return family.param; });

}  // namespace
}  // namespace sluice::infer
