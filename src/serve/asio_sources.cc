// The compiled part of Asio and Beast, once, so that no other unit pays for it.
#include <boost/asio/impl/src.hpp>
#include <boost/beast/src.hpp>
