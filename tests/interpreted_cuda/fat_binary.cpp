#include "fat_binary.h"

#include <fatbinary_section.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <stdexcept>

namespace interpreted {
namespace {

// Neither of these is in a header of CUDA; what `fatbinary` of CUDA 12 and 13 writes begins so.
struct Header {
  static constexpr std::uint32_t kMagic = 0xba55ed50;

  std::uint32_t magic;
  std::uint16_t version;
  std::uint16_t header_bytes;
  std::uint64_t bytes;  // of the images, behind the header
};

struct ImageHeader {
  static constexpr std::uint16_t kPtx = 1;
  static constexpr std::uint64_t kCompressed = 0xa000;  // in either of two ways

  std::uint16_t kind;
  std::uint16_t version;
  std::uint32_t header_bytes;
  std::uint64_t bytes;  // of the image, behind the header
  std::uint32_t others[3];
  std::uint32_t capability;
  std::uint32_t name[2];
  std::uint64_t flags;
};

template <class T>
T read(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

}  // namespace

std::vector<PtxImage> ptx_images(const void* registered) {
  const auto& wrapper = *static_cast<const __fatBinC_Wrapper_t*>(registered);
  const auto* at = reinterpret_cast<const std::byte*>(wrapper.data);
  if (wrapper.magic != FATBINC_MAGIC || read<Header>(at).magic != Header::kMagic) {
    throw std::runtime_error("fat binary of unknown form");
  }
  const auto header = read<Header>(at);
  at += header.header_bytes;
  const std::byte* const end = at + header.bytes;
  std::vector<PtxImage> images;
  while (at < end) {
    const auto image = read<ImageHeader>(at);
    at += image.header_bytes;
    if (image.kind == ImageHeader::kPtx) {
      if (image.flags & ImageHeader::kCompressed) {
        throw std::runtime_error(
            "fat binary whose PTX is compressed: nvcc has an option against it");
      }
      std::string_view text(reinterpret_cast<const char*>(at), image.bytes);
      text = text.substr(0, text.find('\0'));  // which is what it is filled up with
      images.push_back({static_cast<int>(image.capability), text});
    }
    at += image.bytes;
  }
  return images;
}

}  // namespace interpreted
