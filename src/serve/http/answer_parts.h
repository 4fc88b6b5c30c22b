// An answer that comes in parts: how it is framed on the wire, and what waits to be written. No
// sockets here.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

namespace sluice::serve {

// How the end of an answer's body is told.
enum class Framing {
  kLength,   // by its length, which the head gives
  kChunks,   // by an empty chunk
  kClosing,  // by the end of the connection: clients of HTTP/1.0
};

// What of an answer in parts is not in the session's write buffer yet. Owner: its session.
class AnswerParts {
 public:
  // `left` is called by the session, see HttpExchange::RespondInParts. A muted answer (to a HEAD)
  // has parts that nobody gets to see.
  AnswerParts(Framing framing, bool muted, std::function<void()> left)
      : framing_(framing), muted_(muted), left_(std::move(left)) {}

  // Appends a part, as it stands on the wire, to `out`. An empty part is nothing: as a chunk it
  // would be the end.
  void Frame(std::string_view part, std::string& out) const;
  void FrameEnd(std::string& out);

  bool ended() const { return ended_; }
  void Left() const { left_(); }
  // Framed parts that came while earlier ones were being written.
  std::string waiting;

 private:
  const Framing framing_;
  const bool muted_;
  const std::function<void()> left_;
  bool ended_ = false;
};

}  // namespace sluice::serve
