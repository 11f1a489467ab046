// SPDX-License-Identifier: BSD-3-Clause
#include "fallback/cache.hpp"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "artifact/container.hpp"
#include "base/sha256.hpp"
#include "zelos/error.hpp"
#include "zelos/fallback.hpp"

namespace zelos::fallback {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kKind = "answer of a real code";

json describe(const Cache::Question& q) {
  json outputs = json::array();
  for (const Output& o : *q.outputs) {
    json axes = json::array();
    for (const Output::Axis& a : o.axes) axes.push_back({{"name", a.name}, {"unit", a.unit}, {"labels", a.labels}});
    outputs.push_back({{"name", o.name}, {"unit", o.unit}, {"axes", axes}, {"units", o.units}});
  }
  std::vector<std::string> names;
  for (const auto& [name, value] : *q.point) names.push_back(name);
  return {
      {"kind", kKind},       {"code", q.code},    {"code_version", q.version}, {"settings_sha256", q.settings_sha256},
      {"parameters", names}, {"outputs", outputs}};
}

std::vector<double> numbers(const Point& point) {
  std::vector<double> values;
  for (const auto& [name, value] : point) values.push_back(value);
  return values;
}

artifact::Array array(const std::vector<double>& values, std::vector<std::int64_t> shape) {
  artifact::Array a;
  a.shape = std::move(shape);
  a.data = AlignedBuffer(values.size());
  std::copy(values.begin(), values.end(), a.data.data());
  return a;
}

std::string path_of(std::size_t output) { return "outputs/" + std::to_string(output) + "/"; }

bool same(const artifact::Contents& contents, const std::string& path, const std::vector<double>& values) {
  const auto at = contents.arrays.find(path);
  return at != contents.arrays.end() && at->second.data.size() == values.size() &&
         std::memcmp(at->second.data.data(), values.data(), values.size() * sizeof(double)) == 0;
}

std::vector<double> take(const artifact::Contents& contents, const std::string& path) {
  const artifact::Array& a = contents.arrays.at(path);
  return {a.data.data(), a.data.data() + a.data.size()};
}

}  // namespace

Cache::Cache(fs::path folder) : folder_(std::move(folder)) {
  std::error_code code;
  fs::create_directories(folder_, code);
  if (!fs::is_directory(folder_)) {
    throw Error(ZELOS_E_IO, "cache '" + folder_.string() + "': expected a folder, or a place for one" +
                                (code ? " (" + code.message() + ")" : ""));
  }
}

fs::path Cache::file(const Question& q) const {
  Sha256 hash;
  const std::string text = describe(q).dump();
  hash.update(text.data(), text.size());
  const auto add = [&](const std::vector<double>& values) {
    hash.update(values.data(), values.size() * sizeof(double));
  };
  for (const Output& o : *q.outputs) {
    for (const Output::Axis& a : o.axes) {
      const std::uint64_t n = a.values.size();
      hash.update(&n, sizeof n);
      add(a.values);
    }
  }
  add(numbers(*q.point));
  const std::string name = to_hex(hash.finish());
  return folder_ / name.substr(0, 2) / (name + ".h5");
}

std::optional<std::vector<std::vector<double>>> Cache::look_up(const Question& q) const {
  const fs::path path = file(q);
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return std::nullopt;
  artifact::Contents contents;
  try {
    contents = artifact::read(path).contents;
  } catch (const Error&) {
    return std::nullopt;  // damaged: the code answers, and its answer takes the place
  }
  // A file that somebody renamed is not believed.
  if (contents.document != describe(q) || !same(contents, "parameters", numbers(*q.point))) return std::nullopt;
  std::vector<std::vector<double>> values;
  for (std::size_t i = 0; i < q.outputs->size(); ++i) {
    const Output& output = (*q.outputs)[i];
    for (const Output::Axis& axis : output.axes) {
      if (!same(contents, path_of(i) + "axes/" + axis.name, axis.values)) return std::nullopt;
    }
    const auto at = contents.arrays.find(path_of(i) + "values");
    if (at == contents.arrays.end() || at->second.data.size() != size_of(output)) {
      return std::nullopt;
    }
    values.push_back(take(contents, at->first));
  }
  return values;
}

void Cache::store(const Question& q, const std::vector<std::vector<double>>& values) const {
  artifact::Contents contents;
  contents.document = describe(q);
  const std::vector<double> point = numbers(*q.point);
  contents.arrays["parameters"] = array(point, {static_cast<std::int64_t>(point.size())});
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::vector<std::int64_t> shape;
    for (const Output::Axis& axis : (*q.outputs)[i].axes) {
      shape.push_back(static_cast<std::int64_t>(axis.values.size()));
      contents.arrays[path_of(i) + "axes/" + axis.name] = array(axis.values, {shape.back()});
    }
    contents.arrays[path_of(i) + "values"] = array(values[i], shape);
  }
  const fs::path path = file(q);
  std::error_code code;
  fs::create_directories(path.parent_path(), code);
  if (code)
    throw Error(ZELOS_E_IO, "cache '" + folder_.string() + "': no folder can be made in it (" + code.message() + ")");
  artifact::write(path, contents);
}

}  // namespace zelos::fallback

namespace zelos {

void read_cache(const std::filesystem::path& folder, const std::function<void(const CachedAnswer&)>& visit) {
  namespace fs = std::filesystem;
  std::error_code code;
  std::vector<fs::path> files;
  fs::recursive_directory_iterator entries(folder, code);
  for (; !code && entries != fs::recursive_directory_iterator(); entries.increment(code)) {
    const fs::path& path = entries->path();
    if (path.extension() == ".h5" && path.filename().string().front() != '.') files.push_back(path);
  }
  if (code) throw Error(ZELOS_E_IO, "cache '" + folder.string() + "': " + code.message());
  std::sort(files.begin(), files.end());
  for (const fs::path& file : files) {
    CachedAnswer answer;
    try {
      const artifact::Contents contents = artifact::read(file).contents;
      const nlohmann::json& d = contents.document;
      if (d.value("kind", "") != fallback::kKind) continue;
      answer.code = d.at("code");
      answer.version = d.at("code_version");
      answer.settings_sha256 = d.at("settings_sha256");
      const std::vector<double> values = fallback::take(contents, "parameters");
      const nlohmann::json& names = d.at("parameters");
      if (names.size() != values.size()) continue;
      for (std::size_t i = 0; i < values.size(); ++i) answer.parameters.emplace_back(names[i], values[i]);
      for (std::size_t i = 0; i < d.at("outputs").size(); ++i) {
        const nlohmann::json& o = d["outputs"][i];
        Output output{o.at("name"), o.at("unit"), "", {}, o.at("units")};
        for (const nlohmann::json& a : o.at("axes")) {
          const std::string name = a.at("name");
          output.axes.push_back(
              {name, a.at("unit"), fallback::take(contents, fallback::path_of(i) + "axes/" + name), a.at("labels")});
        }
        answer.values.push_back(fallback::take(contents, fallback::path_of(i) + "values"));
        if (answer.values.back().size() != fallback::size_of(output)) throw std::out_of_range("shape");
        answer.outputs.push_back(std::move(output));
      }
    } catch (const std::exception&) {
      continue;
    }
    visit(answer);
  }
}

}  // namespace zelos
