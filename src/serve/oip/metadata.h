// What the protocol tells about models, as its messages: both dialects send these, gRPC as they
// are, HTTP as JSON.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "serve/proto/inference.pb.h"
#include "serve/service.h"

namespace sluice::serve {

void FillServerMetadata(const Service& service, inference::ServerMetadataResponse& out);
base::Status FillModelMetadata(const Service& service, std::string_view name,
                               std::string_view version, inference::ModelMetadataResponse& out);
// `name` empty: all models.
base::Status FillStatistics(const Service& service, std::string_view name, std::string_view version,
                            inference::ModelStatisticsResponse& out);
void FillIndex(const Service& service, bool ready_only, inference::RepositoryIndexResponse& out);

// A message as JSON: its own field names, every singular scalar printed, 64-bit integers as
// numbers, enums by name.
void AppendJson(const google::protobuf::Message& message, std::string& out);

}  // namespace sluice::serve
