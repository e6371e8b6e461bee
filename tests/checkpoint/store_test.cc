// Tensors of whole checkpoints: one file, sharded sets, odd files, many readers.
#include "ullage/checkpoint/store.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "checkpoint/file_pool.h"
#include "support/safetensors_builder.h"

namespace ullage::checkpoint {
namespace {

using test::StoredTensor;
using test::TempFolder;

Result<TensorStore> open_folder(const TempFolder& folder) {
  ULLAGE_ASSIGN(const Location location, locate(folder.string()));
  return TensorStore::open(location);
}

Error refusal(const TempFolder& folder) {
  const auto store = open_folder(folder);
  EXPECT_FALSE(store.ok());
  return store.ok() ? Error{} : store.error();
}

std::string content(const TensorStore& store, const std::string& name) {
  const TensorInfo* tensor = store.find(name);
  if (tensor == nullptr) return "(absent)";
  std::string bytes(tensor->bytes, '\0');
  const Status status = store.read(*tensor, 0, std::as_writable_bytes(std::span(bytes)));
  return status.ok() ? bytes : status.error().message();
}

StoredTensor bytes_tensor(const std::string& name, const std::string& bytes) {
  return {name, "U8", {bytes.size()}, bytes};
}

TEST(TensorStore, ReadsOneFile) {
  const TempFolder folder;
  folder.write("model.safetensors",
               test::safetensors_file({bytes_tensor("a", "12345"), bytes_tensor("b", "xyz")}));
  const auto store = open_folder(folder);
  ASSERT_TRUE(store.ok()) << store.error().message();
  EXPECT_EQ(content(*store, "a"), "12345");
  EXPECT_EQ(content(*store, "b"), "xyz");
  EXPECT_EQ(store->bytes_read(), 8U);
  EXPECT_EQ(store->tensors().size(), 2U);
  EXPECT_EQ(store->files(), 1U);
  EXPECT_EQ(store->describe(*store->find("b")), "model.safetensors: b");
  const auto missing = store->get("c");
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().code, Code::tensor_missing);
}

TEST(TensorStore, ReadsNothingOutsideATensor) {
  const TempFolder folder;
  folder.write("model.safetensors",
               test::safetensors_file({bytes_tensor("a", "12345"), bytes_tensor("b", "xyz")}));
  const auto store = open_folder(folder);
  const TensorInfo& a = *store->find("a");
  std::vector<std::byte> out(3);
  EXPECT_TRUE(store->read(a, 2, out).ok());
  EXPECT_EQ(out[0], std::byte{'3'});
  EXPECT_TRUE(store->read(a, 5, std::span(out).first(0)).ok());
  for (const std::uint64_t offset :
       {std::uint64_t{3}, std::uint64_t{6}, ~std::uint64_t{0}, ~std::uint64_t{1}})
    EXPECT_EQ(store->read(a, offset, out).error().code, Code::value_invalid) << offset;
}

std::string index_of(const std::vector<std::pair<std::string, std::string>>& map) {
  std::string json = R"({"metadata":{"total_size":1},"weight_map":{)";
  for (std::size_t i = 0; i < map.size(); ++i)
    json += (i == 0 ? "" : ",") + test::json_string(map[i].first) + ":" +
            test::json_string(map[i].second);
  return json + "}}";
}

TEST(TensorStore, JoinsShards) {
  const TempFolder folder;
  folder.write("1.safetensors",
               test::safetensors_file({bytes_tensor("a", "one"), bytes_tensor("both", "first")}));
  folder.write("sub/2.safetensors",
               test::safetensors_file({bytes_tensor("b", "two"), bytes_tensor("both", "second"),
                                       bytes_tensor("unlisted", "x")}));
  folder.write("model.safetensors.index.json", index_of({{"b", "sub/2.safetensors"},
                                                         {"a", "1.safetensors"},
                                                         {"both", "./sub/2.safetensors"}}));
  const auto store = open_folder(folder);
  ASSERT_TRUE(store.ok()) << store.error().message();
  EXPECT_EQ(store->files(), 2U);
  EXPECT_EQ(content(*store, "a"), "one");
  EXPECT_EQ(content(*store, "b"), "two");
  EXPECT_EQ(content(*store, "both"), "second");  // the index decides
  EXPECT_EQ(store->tensors().size(), 3U);
  EXPECT_EQ(store->find("unlisted"), nullptr);
  const auto unlisted = store->get("unlisted");
  ASSERT_FALSE(unlisted.ok());
  EXPECT_NE(unlisted.error().what.find("sub/2.safetensors holds it"), std::string::npos);
}

TEST(TensorStore, AnIndexMustFitItsShards) {
  const TempFolder folder;
  const std::string shard = test::safetensors_file({bytes_tensor("a", "one")});
  folder.write("1.safetensors", shard);
  folder.write("model.safetensors.index.json",
               index_of({{"a", "1.safetensors"}, {"b", "1.safetensors"}}));
  const Error lacking = refusal(folder);
  EXPECT_EQ(lacking.code, Code::tensor_missing);
  EXPECT_EQ(lacking.where, "model.safetensors.index.json: b");
  folder.write("model.safetensors.index.json",
               index_of({{"a", "1.safetensors"}, {"b", "2.safetensors"}}));
  const Error gone = refusal(folder);
  EXPECT_EQ(gone.code, Code::not_found);
  EXPECT_EQ(gone.where, "2.safetensors");
  folder.write("2.safetensors", shard.substr(0, shard.size() - 1));
  EXPECT_EQ(refusal(folder).code, Code::offset_invalid);
}

struct Magic {
  std::string start;
  const char* said;
};

TEST(TensorStore, AFileIsOneShard) {
  const TempFolder folder;
  folder.write("a.safetensors",
               test::safetensors_file({bytes_tensor("a", "1"), bytes_tensor("b", "2")}));
  ASSERT_EQ(symlink("a.safetensors", (folder.string() + "/b.safetensors").c_str()), 0);
  folder.write("model.safetensors.index.json",
               R"({"weight_map": {"a": "a.safetensors", "b": "b.safetensors"}})");
  const Error error = refusal(folder);
  EXPECT_EQ(error.code, Code::index_invalid);
  EXPECT_NE(error.message().find("two shards are one file"), std::string::npos) << error.message();
}

TEST(TensorStore, SaysWhatAFileIsThatIsNotSafetensors) {
  const std::vector<Magic> files = {
      {"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"},
      {"PK\x03\x04 and more", "zip archive"},
      {"\x80\x02}q\x01(more", "pickle"},
      {"GGUF\x03 and more", "GGUF"},
      {"<!DOCTYPE html><html>", "web page"},
      {"\x89HDF\r\n\x1a\n....", "HDF5"},
      {std::string("\x7f"
                   "ELF\0\0\0\0\0\0\0\0",
                   12),
       "program"},
  };
  for (const Magic& file : files) {
    const TempFolder folder;
    folder.write("model.safetensors", file.start);
    const Error error = refusal(folder);
    EXPECT_EQ(error.code, Code::format_refused) << file.said;
    EXPECT_NE(error.what.find(file.said), std::string::npos) << error.what;
  }
  // A length that looks like a pickle's start is a length: 0x280 bytes of header.
  const TempFolder folder;
  std::string json = "{}";
  json.resize(0x280, ' ');
  folder.write("model.safetensors", test::file_of(json, ""));
  EXPECT_TRUE(open_folder(folder).ok());
}

TEST(TensorStore, OpensRegularFilesAlone) {
  const TempFolder folder;
  const std::string path = folder / "model.safetensors";
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  EXPECT_EQ(refusal(folder).code, Code::not_readable);
  std::filesystem::remove(path);
  std::filesystem::create_directory(path);
  EXPECT_EQ(refusal(folder).code, Code::not_readable);
  std::filesystem::remove(path);
  for (const char* target : {"/dev/zero", "/dev/full", "model.safetensors"}) {
    std::filesystem::create_symlink(target, path);
    EXPECT_EQ(refusal(folder).code, Code::not_readable) << target;
    std::filesystem::remove(path);
  }
  std::filesystem::create_symlink("/proc/self/mem", path);
  EXPECT_EQ(refusal(folder).code, Code::header_too_small);
  std::filesystem::remove(path);
  std::filesystem::create_symlink("gone", path);
  EXPECT_EQ(refusal(folder).code, Code::not_found);
  std::filesystem::remove(path);
  folder.write("elsewhere/blob", test::safetensors_file({bytes_tensor("a", "linked")}));
  std::filesystem::create_symlink("elsewhere/blob", path);
  EXPECT_EQ(content(*open_folder(folder), "a"), "linked");
}

TEST(TensorStore, SurvivesAFileThatShrinks) {
  const TempFolder folder;
  const std::string path =
      folder.write("model.safetensors", test::safetensors_file({bytes_tensor("a", "12345")}));
  const auto store = open_folder(folder);
  ASSERT_TRUE(store.ok());
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 2);
  std::vector<std::byte> out(5);
  EXPECT_EQ(store->read(*store->find("a"), 0, out).error().code, Code::not_readable);
}

TEST(TensorStore, ManyThreadsRead) {
  const TempFolder folder;
  std::vector<std::pair<std::string, std::string>> map;
  for (int i = 0; i < 8; ++i) {
    const std::string name = "t" + std::to_string(i), file = std::to_string(i) + ".safetensors";
    folder.write(file, test::safetensors_file(
                           {bytes_tensor(name, std::string(1000, static_cast<char>('a' + i)))}));
    map.emplace_back(name, file);
  }
  folder.write("model.safetensors.index.json", index_of(map));
  const auto store = open_folder(folder);
  ASSERT_TRUE(store.ok());
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) {
        const int which = (i * 7 + t) % 8;
        if (content(*store, "t" + std::to_string(which)) !=
            std::string(1000, static_cast<char>('a' + which)))
          ++wrong;
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(store->bytes_read(), 800'000U);
}

TEST(FilePool, KeepsFewFilesOpen) {
  const TempFolder folder;
  FilePool pool(3);
  for (int i = 0; i < 10; ++i) {
    const std::string name = std::to_string(i);
    ASSERT_TRUE(pool.add(folder.write(name, "content " + name), name).ok());
    EXPECT_LE(pool.open_files(), 3U);
  }
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 300; ++i) {
        const auto file = static_cast<std::uint32_t>((i * 3 + t * 5) % 10);
        char out[1];
        const bool read = pool.read(file, 8, std::as_writable_bytes(std::span(out))).ok();
        if (!read || out[0] != static_cast<char>('0' + file)) ++wrong;
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_LE(pool.open_files(), 3U);
}

TEST(FilePool, NoticesAFileThatWasReplaced) {
  const TempFolder folder;
  FilePool pool(1);
  ASSERT_TRUE(pool.add(folder.write("a", "old"), "a").ok());
  ASSERT_TRUE(pool.add(folder.write("b", "other"), "b").ok());
  folder.write("new", "new");
  std::filesystem::rename(folder / "new", folder / "a");
  char out[3];
  const Status status = pool.read(0, 0, std::as_writable_bytes(std::span(out)));
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, Code::not_readable);
  EXPECT_TRUE(pool.read(1, 0, std::as_writable_bytes(std::span(out))).ok());
}

}  // namespace
}  // namespace ullage::checkpoint
