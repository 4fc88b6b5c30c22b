#include "serve/http/compression.h"

#include <gtest/gtest.h>

namespace sluice::serve {
namespace {

TEST(CompressionTest, GivesBackWhatItTook) {
  std::string text;
  for (int i = 0; i < 20000; ++i) text += std::to_string(i);
  for (ContentCoding coding : {ContentCoding::kGzip, ContentCoding::kDeflate}) {
    std::string packed = Compress(coding, text);
    EXPECT_LT(packed.size(), text.size());
    base::Result<std::string> back = Decompress(coding, packed, 1 << 20);
    ASSERT_TRUE(back.ok());
    EXPECT_EQ(*back, text);
  }
}

TEST(CompressionTest, StopsABombAtItsBound) {
  std::string bomb = Compress(ContentCoding::kGzip, std::string(64 << 20, '\0'));
  EXPECT_LT(bomb.size(), 1u << 20);
  base::Result<std::string> out = Decompress(ContentCoding::kGzip, bomb, 1 << 20);
  ASSERT_FALSE(out.ok());
  EXPECT_EQ(out.error().code, base::Code::kResourceExhausted);
  EXPECT_TRUE(Decompress(ContentCoding::kGzip, bomb, 64 << 20).ok());
}

TEST(CompressionTest, RefusesWhatIsNoWholeStream) {
  std::string packed = Compress(ContentCoding::kDeflate, "some text that is long enough to be cut");
  EXPECT_FALSE(Decompress(ContentCoding::kDeflate, packed.substr(0, packed.size() - 3), 1000).ok());
  EXPECT_FALSE(Decompress(ContentCoding::kDeflate, packed + "x", 1000).ok());
  EXPECT_FALSE(Decompress(ContentCoding::kGzip, packed, 1000).ok());
  EXPECT_FALSE(Decompress(ContentCoding::kGzip, "", 1000).ok());
}

TEST(CompressionTest, ChoosesACodingThatTheClientTakes) {
  EXPECT_EQ(PreferredCoding("br, gzip;q=0.5, deflate"), ContentCoding::kGzip);
  EXPECT_EQ(PreferredCoding("gzip;q=0, deflate"), ContentCoding::kDeflate);
  EXPECT_EQ(PreferredCoding("gzip;q=0.0"), ContentCoding::kIdentity);
  EXPECT_EQ(PreferredCoding("br"), ContentCoding::kIdentity);
  EXPECT_EQ(PreferredCoding(""), ContentCoding::kIdentity);
}

TEST(CompressionTest, NamesAnUnknownCoding) {
  EXPECT_EQ(ParseContentCoding("br").error().code, base::Code::kUnimplemented);
  EXPECT_EQ(*ParseContentCoding(" GZIP "), ContentCoding::kGzip);
}

}  // namespace
}  // namespace sluice::serve
