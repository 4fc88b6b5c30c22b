#include "serve/client/url.h"

#include <gtest/gtest.h>

namespace sluice::serve {
namespace {

TEST(Url, AddressIsTakenApart) {
  const auto url = ParseUrl("https://hub.example:8443/a/b?c=d#e");
  ASSERT_TRUE(url.ok());
  EXPECT_TRUE(url->tls);
  EXPECT_EQ(url->host, "hub.example");
  EXPECT_EQ(url->port, 8443);
  EXPECT_EQ(url->target, "/a/b?c=d");
  EXPECT_EQ(url->text(), "https://hub.example:8443/a/b?c=d");
}

TEST(Url, UsualPortsAreLeftOut) {
  EXPECT_EQ(ParseUrl("https://a:443")->text(), "https://a/");
  EXPECT_EQ(ParseUrl("http://a:80/x")->origin(), "http://a");
  EXPECT_EQ(ParseUrl("http://[::1]:8080/x")->text(), "http://[::1]:8080/x");
}

TEST(Url, WhatIsNoAddressIsRefused) {
  for (const char* text :
       {"", "ftp://a/", "a/b", "http://", "http://user@a/", "http://a:0/", "http://a:99999/",
        "http://a:1x/", "http://a/b c", "http://a/\r\nX: y", "http://[::1/", "http://[x]/"}) {
    EXPECT_FALSE(ParseUrl(text).ok()) << text;
  }
}

TEST(Url, RedirectMayBeAnAddressOrAPath) {
  const Url from = *ParseUrl("https://a/x/y?z=1");
  EXPECT_EQ(ResolveUrl(from, "http://b/c")->text(), "http://b/c");
  EXPECT_EQ(ResolveUrl(from, "//b/c")->text(), "https://b/c");
  EXPECT_EQ(ResolveUrl(from, "/c?d")->text(), "https://a/c?d");
  EXPECT_EQ(ResolveUrl(from, "c")->text(), "https://a/x/c");
  EXPECT_FALSE(ResolveUrl(from, "c d").ok());
}

TEST(Url, OnlyPlainCharactersStandUnescaped) {
  EXPECT_EQ(EscapeForUrl("refs/pr/1"), "refs%2Fpr%2F1");
  EXPECT_EQ(EscapeForUrl("a b/\xc3\xa9?.json", "/"), "a%20b/%C3%A9%3F.json");
}

}  // namespace
}  // namespace sluice::serve
