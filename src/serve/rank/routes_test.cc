// Embeddings, scores, rankings and tokens over HTTP, each in the dialect of whoever asks.
#include "serve/rank/routes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serve/rank/answers.h"
#include "serve/server_fixture.h"

namespace sluice::serve {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class RankRoutes : public ServerFixture {
 protected:
  RankRoutes() {
    folder_.Write("ranker/1/model.onnx", "ranker");
    StartServer();
  }
  std::string Answer(const std::string& target, const std::string& body, int status = 200) {
    const HttpReply reply = Post(target, body);
    EXPECT_EQ(reply.status, status) << reply.body;
    return reply.body;
  }
};

TEST_F(RankRoutes, EmbedsTextsAndTokensAsOpenAiDoes) {
  EXPECT_EQ(Answer("/v1/embeddings", R"({"model":"ranker","input":"abc","dimensions":2})"),
            R"({"object":"list","data":[{"object":"embedding","index":0,"embedding":[3,0,2]}],)"
            R"("model":"ranker","usage":{"prompt_tokens":7,"total_tokens":7}})");
  EXPECT_THAT(Answer("/v1/embeddings", R"({"model":"ranker","input":["a","bcd"]})"),
              HasSubstr(R"({"object":"embedding","index":1,"embedding":[3,1,0]})"));
  EXPECT_THAT(Answer("/v1/embeddings", R"({"model":"ranker","input":[5,6,7,8]})"),
              HasSubstr(R"("embedding":[4,0,0])"));
  EXPECT_THAT(Answer("/v1/embeddings", R"({"model":"ranker","input":[[5],[6,7]]})"),
              HasSubstr(R"("embedding":[2,1,0])"));
}

TEST_F(RankRoutes, EmbeddingsInBase64AreTheBytesOfFloats) {
  EXPECT_THAT(
      Answer("/v1/embeddings", R"({"model":"ranker","input":"a","encoding_format":"base64"})"),
      HasSubstr(R"("embedding":"AACAPwAAAAAAAAAA")"));
  EXPECT_EQ(EncodeBase64("light w"), "bGlnaHQgdw==");
  EXPECT_EQ(EncodeBase64("light wo"), "bGlnaHQgd28=");
}

TEST_F(RankRoutes, EmbedsWithoutAModelsNameAsTeiDoes) {
  EXPECT_EQ(Answer("/embed", R"({"inputs":["a","bcd"]})"), "[[1,0,0],[3,1,0]]");
  EXPECT_EQ(Answer("/embed", R"({"inputs":"ab"})"), "[[2,0,0]]");
  EXPECT_EQ(Answer("/embed", R"({"inputs":3})", 422),
            R"({"error":"'inputs': expected an array of token ids","error_type":"Validation"})");
}

TEST_F(RankRoutes, RanksAsCohereDoes) {
  const std::string answer = Answer(
      "/v2/rerank",
      R"({"model":"ranker","query":"q","documents":["aa","bbbb",{"text":"ccc"}],"top_n":2})");
  EXPECT_THAT(answer, StartsWith(R"({"id":"rerank-)"));
  EXPECT_THAT(answer, HasSubstr(R"("results":[{"index":1,"relevance_score":3},)"
                                R"({"index":2,"relevance_score":2}],"meta":{"api_version":)"
                                R"({"version":"2"},"billed_units":{"search_units":1})"));
  EXPECT_EQ(Answer("/v2/rerank", R"({"model":"other","query":"q","documents":["a"]})", 404),
            R"({"message":"the model 'other' does not exist"})");
}

TEST_F(RankRoutes, RanksAsJinaDoesWithItsDocuments) {
  for (const char* path : {"/v1/rerank", "/rerank"}) {
    const std::string answer =
        Answer(path, R"({"model":"ranker","query":{"text":"q"},"documents":["aa","bbbb"]})");
    EXPECT_THAT(answer, HasSubstr(R"("model":"ranker","results":[)"
                                  R"({"index":1,"document":{"text":"bbbb"},"relevance_score":3},)"
                                  R"({"index":0,"document":{"text":"aa"},"relevance_score":1}],)"
                                  R"("usage":{"prompt_tokens":7,"total_tokens":7})"));
  }
  EXPECT_THAT(Answer("/v1/rerank", R"({"query":"q","documents":["aa"],"return_documents":false})"),
              HasSubstr(R"("results":[{"index":0,"relevance_score":1}])"));
  EXPECT_EQ(Answer("/v1/rerank", R"({"model":"ranker","query":"q","documents":[]})", 400),
            R"({"detail":"'documents': expected an array of 1 to 4096 documents",)"
            R"("message":"'documents': expected an array of 1 to 4096 documents"})");
}

TEST_F(RankRoutes, RanksTextsAsTeiDoes) {
  EXPECT_EQ(Answer("/rerank", R"({"query":"q","texts":["aa","bbbb"]})"),
            R"([{"index":1,"score":3},{"index":0,"score":1}])");
  EXPECT_EQ(
      Answer("/rerank", R"({"query":"q","texts":["aa"],"raw_scores":true,"return_text":true})"),
      R"([{"index":0,"text":"aa","score":101}])");
}

TEST_F(RankRoutes, ScoresPairsAsVllmDoes) {
  for (const char* path : {"/v1/score", "/score"}) {
    EXPECT_THAT(Answer(path, R"({"model":"ranker","text_1":"q","text_2":["aa","bbbb"]})"),
                HasSubstr(R"("object":"list",)"));
    EXPECT_THAT(Answer(path, R"({"model":"ranker","queries":"q","documents":["aa","bbbb"]})"),
                HasSubstr(R"("data":[{"index":0,"object":"score","score":1},)"
                          R"({"index":1,"object":"score","score":3}],"usage":{"prompt_tokens":7)"));
  }
  // As many on both sides are pairs, in one answer.
  EXPECT_THAT(Answer("/score", R"({"model":"ranker","text_1":["q","qq"],"text_2":["aa","bbbb"]})"),
              HasSubstr(R"("data":[{"index":0,"object":"score","score":1},)"
                        R"({"index":1,"object":"score","score":2}],"usage":{"prompt_tokens":14)"));
  EXPECT_THAT(Answer("/score", R"({"model":"ranker","text_1":["q","r"],"text_2":["a"]})", 400),
              HasSubstr(R"({"error":{"message":"'text_2': expected one text for each of the 2)"));
}

TEST_F(RankRoutes, ScoresItemsBehindOnePrefix) {
  EXPECT_THAT(Answer("/v1/score",
                     R"({"model":"ranker","prefix":"p","items":["aa","bbbb"],"labels":["x","y"]})"),
              HasSubstr(R"({"index":1,"object":"score","score":3,"scores":[3,3.25]})"));
  EXPECT_THAT(Answer("/v1/score", R"({"prefix":[1,2],"items":[[5,6,7],[8]],"top_k":1})"),
              HasSubstr(R"("data":[{"index":0,"object":"score","score":1}])"));
  EXPECT_THAT(Answer("/v1/score", R"({"messages":[{"role":"user","content":"hi"}],"items":["a"]})"),
              HasSubstr(R"("score":1)"));
  EXPECT_THAT(Answer("/v1/score", R"({"prefix":"p"})", 400), HasSubstr("'items': expected it"));
  EXPECT_THAT(Answer("/v1/score", R"({"prefix":"p","items":["a"],"text_1":"q"})", 400),
              HasSubstr("either pairs of texts, or a prefix with items"));
}

TEST_F(RankRoutes, PairsTakeVllmsWordForLogits) {
  EXPECT_THAT(Answer("/v1/score", R"({"text_1":["q"],"text_2":["a"],"activation":false})"),
              HasSubstr(R"("score":100)"));
}

TEST_F(RankRoutes, TokenisesAsVllmAndTeiDo) {
  EXPECT_EQ(Answer("/tokenize", R"({"model":"ranker","prompt":"hi","return_token_strs":true})"),
            R"({"count":2,"max_model_len":128,"tokens":[104,105],"token_strs":["h","i"]})");
  EXPECT_EQ(Answer("/tokenize", R"({"inputs":["h"]})"),
            R"([[{"id":104,"text":"h","special":false,"start":0,"stop":1}]])");
  EXPECT_EQ(Answer("/detokenize", R"({"model":"ranker","tokens":[104,105]})"),
            R"({"prompt":"hi"})");
  EXPECT_EQ(Answer("/decode", R"({"ids":[[104],[105,104]]})"), R"(["h","ih"])");
  EXPECT_THAT(Answer("/tokenize", R"({"model":"ranker"})", 400), HasSubstr("'prompt', 'messages'"));
}

TEST_F(ServerFixture, AModelIsNamedWhereSeveralCanRank) {
  for (const char* name : {"first", "second"}) {
    folder_.Write(std::string(name) + "/1/model.onnx", "ranker");
  }
  StartServer();
  const HttpReply unnamed = Post("/embed", R"({"inputs":"a"})");
  EXPECT_EQ(unnamed.status, 422);
  EXPECT_THAT(unnamed.body, HasSubstr("there are several"));
  EXPECT_EQ(Post("/embed", R"({"inputs":"a","model":"second"})").body, "[[1,0,0]]");
}

TEST_F(RankRoutes, WhatTheEngineRefusesIsSaidInTheDialect) {
  loader_.control("ranker")->fail_prepare = true;
  EXPECT_THAT(Answer("/v1/embeddings", R"({"model":"ranker","input":"a"})", 400),
              HasSubstr(R"({"error":{"message":"the fake engine cannot prepare this")"));
  EXPECT_THAT(Answer("/rerank", R"({"query":"q","texts":["a"]})", 422),
              HasSubstr(R"("error_type":"Validation")"));
}

TEST_F(RankRoutes, ADeadlineIsMetOrSaid) {
  loader_.control("ranker")->hold = true;
  const HttpReply late =
      Post("/v1/embeddings", R"({"model":"ranker","input":"slow","deadline_ms":1})");
  EXPECT_EQ(late.status, 504) << late.body;
  EXPECT_THAT(late.body, HasSubstr(R"("code":"deadline_queue")"));
}

TEST_F(RankRoutes, OtherMethodsAndBodiesAreRefused) {
  EXPECT_EQ(Get("/v1/embeddings").status, 405);
  EXPECT_EQ(Get("/rerank").status, 405);
  EXPECT_THAT(Answer("/v1/embeddings", "{", 400), HasSubstr("JSON"));
  EXPECT_THAT(Answer("/v1/embeddings", R"({"model":"identity","input":"a"})", 404),
              HasSubstr("model_not_found"));
  EXPECT_THAT(Answer("/v1/embeddings", R"({"model":"ranker","input":[]})", 400),
              HasSubstr("'input': expected an array of token ids"));
  EXPECT_THAT(
      Answer("/v1/embeddings", R"({"model":"ranker","input":"a","encoding_format":"hex"})", 400),
      HasSubstr("float or base64"));
}

}  // namespace
}  // namespace sluice::serve
