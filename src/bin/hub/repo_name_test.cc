#include "bin/hub/repo_name.h"

#include <gtest/gtest.h>

namespace sluice::bin {
namespace {

TEST(RepoName, HasAnOrganisationANameAndARevision) {
  const auto plain = ParseRepoName("Qwen/Qwen2.5-0.5B");
  ASSERT_TRUE(plain.ok());
  EXPECT_EQ(plain->id(), "Qwen/Qwen2.5-0.5B");
  EXPECT_EQ(plain->revision, "main");
  const auto pinned = ParseRepoName("a/b@refs/pr/1");
  ASSERT_TRUE(pinned.ok());
  EXPECT_EQ(pinned->id(), "a/b");
  EXPECT_EQ(pinned->revision, "refs/pr/1");
}

TEST(RepoName, WhatTheHubDoesNotAllowIsRefused) {
  for (const char* text :
       {"", "a", "/b", "a/", "a/b/c", "a/..", "../b", "a/b--c", "a/.b", "a/b.git", "a/b c", "a/b@",
        "a/b@../c", "a/b@c//d", "a/b@/c", "a\\b/c"}) {
    EXPECT_FALSE(ParseRepoName(text).ok()) << text;
  }
  EXPECT_FALSE(ParseRepoName("a/" + std::string(97, 'b')).ok());
}

TEST(RepoName, PathsStayBelowTheirFolder) {
  for (const char* path : {"a", "a/b.json", ".gitattributes", "a/.b", "\xc3\xa9/x"}) {
    EXPECT_TRUE(IsRepoPath(path)) << path;
  }
  for (const char* path : {"", "/a", "a/", "..", "a/../b", "a//b", "./a", "a\\b", "a\nb"}) {
    EXPECT_FALSE(IsRepoPath(path)) << path;
  }
  EXPECT_FALSE(IsRepoPath("1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17"));
}

}  // namespace
}  // namespace sluice::bin
