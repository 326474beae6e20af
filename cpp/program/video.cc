#include "video.h"

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/imgutils.h>
#include <libswscale/swscale.h>
}

#include <array>
#include <string>

#include "lookonce/errors.h"

namespace lookonce {
namespace {

std::string explain(int code) {
  std::array<char, AV_ERROR_MAX_STRING_SIZE> text{};
  av_strerror(code, text.data(), text.size());
  return text.data();
}

}  // namespace

struct Video::Decoder {
  explicit Decoder(std::string video_name) : name(std::move(video_name)) {}
  ~Decoder() {
    sws_freeContext(scaler);
    av_packet_free(&packet);
    av_frame_free(&frame);
    avcodec_free_context(&codec);
    avformat_close_input(&format);
  }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  void open() {
    av_log_set_level(AV_LOG_ERROR);
    // Files alone: a playlist inside one must not make this program open a connection.
    AVDictionary* options = nullptr;
    av_dict_set(&options, "protocol_whitelist", "file", 0);
    const int opened = avformat_open_input(&format, name.c_str(), nullptr, &options);
    av_dict_free(&options);
    require(opened, "is no video that can be read");
    require(avformat_find_stream_info(format, nullptr), "has no readable streams");
    const AVCodec* kind = nullptr;
    stream = av_find_best_stream(format, AVMEDIA_TYPE_VIDEO, -1, -1, &kind, 0);
    require(stream, "holds no pictures");
    codec = avcodec_alloc_context3(kind);
    require(avcodec_parameters_to_context(codec, format->streams[stream]->codecpar), "cannot be decoded");
    codec->thread_count = 1;  // the network has the processors
    require(avcodec_open2(codec, kind, nullptr), "cannot be decoded");
    packet = av_packet_alloc();
    frame = av_frame_alloc();
  }

  /// false at the end.
  bool receive() {
    while (true) {
      const int received = avcodec_receive_frame(codec, frame);
      if (received == 0) return true;
      if (received == AVERROR_EOF) return false;
      if (received != AVERROR(EAGAIN)) require(received, "is damaged");
      send();
    }
  }

  Picture picture() {
    const auto kind = static_cast<AVPixelFormat>(frame->format);
    scaler = sws_getCachedContext(scaler, frame->width, frame->height, kind, frame->width, frame->height,
                                  AV_PIX_FMT_RGB24, SWS_BILINEAR, nullptr, nullptr, nullptr);
    if (scaler == nullptr) throw Error(name + ": its pixels cannot be turned into RGB");
    Picture picture(frame->width, frame->height);
    std::array<std::uint8_t*, 4> target{picture.pixels.data()};
    std::array<int, 4> stride{picture.width * 3};
    sws_scale(scaler, frame->data, frame->linesize, 0, frame->height, target.data(), stride.data());
    return picture;
  }

  std::string name;
  AVFormatContext* format = nullptr;
  AVCodecContext* codec = nullptr;
  AVPacket* packet = nullptr;
  AVFrame* frame = nullptr;
  SwsContext* scaler = nullptr;
  int stream = -1;

 private:
  void require(int status, const std::string& problem) const {
    if (status < 0) throw Error(name + ": " + problem + ": " + explain(status));
  }

  /// The next packet of the pictures into the decoder, or the news that there are none left.
  void send() {
    while (av_read_frame(format, packet) >= 0) {
      const bool ours = packet->stream_index == stream;
      if (ours) avcodec_send_packet(codec, packet);
      av_packet_unref(packet);
      if (ours) return;
    }
    avcodec_send_packet(codec, nullptr);
  }
};

Video::Video(const std::filesystem::path& path) : decoder_(std::make_unique<Decoder>(path.string())) {
  decoder_->open();
}

Video::~Video() = default;

std::optional<Picture> Video::next() {
  if (!decoder_->receive()) return std::nullopt;
  return decoder_->picture();
}

}  // namespace lookonce
