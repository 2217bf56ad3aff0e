// The words of the page in two languages.

const LANGUAGE = 'impasto-language';

const EN = {
  paint: 'Paint', painting: 'Painting', gallery: 'Gallery', ratings: 'Ratings', views: 'Views',
  skip: 'Skip to the settings', language: '中文', languageName: 'Switch to Chinese', theme: 'Light or dark', close: 'Close', cancel: 'Cancel',
  dropTitle: 'Begin with a photograph', dropText: 'Drop it here, paste it, or choose one; a short video works, too. It stays on the machine that paints.',
  choose: 'Choose a photograph', camera: 'Take a photograph', change: 'Change', photograph: 'Photograph',
  paintings: 'Paintings', adjust: 'Adjust', where: 'Where', settings: 'Settings',
  search: 'Search title or artist', all: 'All', museum: 'Museum', trained: 'Quick', mine: 'Mine', wall: 'All on one wall',
  own: 'Add a painting of your own', nothing: 'Nothing matches. Try another word.', noStyles: 'Choose one painting, or mix up to four.',
  chosen: 'Chosen paintings', remove: 'Remove {0}', share: 'Share of {0}', mix: 'Mix: drag the dot, or use the arrow keys',
  mostFour: 'Four paintings are the most that mix.', kinds: 'These two kinds of style do not mix, so the choice was replaced.',
  quality: 'Quality', draft: 'Draft', good: 'Good', best: 'Best', onePass: 'One quick pass', size: 'Size', ownSize: 'As the photograph',
  method: 'Method', automatic: 'Automatic', more: 'More settings', reset: 'Back to the defaults', keepColor: 'Colours',
  keepNone: 'Of the painting', keepLuminance: 'Of the photograph (exact)', keepHistogram: 'Of the photograph (soft)', protect: 'Protect faces', format: 'File',
  whereText: 'Paint everywhere, or only where you say. What you brush over is painted; the softer, the less.',
  everywhere: 'Everywhere', subject: 'Subject', background: 'Background', person: 'Person', brush: 'Brush…', point: 'Point at it…', strengthHere: 'Strength of the painting',
  onlyHere: 'Region of {0}', hasMask: 'brushed', brushTitle: 'Where to paint', brushSize: 'Size', hardness: 'Hardness', pressure: 'Strength',
  erase: 'Erase', undo: 'Undo', redo: 'Redo', clear: 'Clear', invert: 'Invert', fillAll: 'Fill', done: 'Done', find: 'Find', layer: 'What is brushed',
  brushHelp: 'Drag to brush. Keys: arrows move, Space brushes, [ and ] change the size, E erases, P points, Ctrl+Z undoes.',
  pointHelp: 'Click a thing to select it; with Erase, to take it out. Keys: arrows move, Space selects, P brushes again.',
  finding: 'Looking for it…',
  before: 'Before', after: 'After', compareSlide: 'Before and after', zoomIn: 'Zoom in', zoomOut: 'Zoom out', fit: 'Fit', pixels: 'Pixels (1:1)',
  viewer: 'Picture. Arrows move, plus and minus zoom, 0 fits, 1 shows pixels.',
  drafting: 'Drafting…', isDraft: 'Draft', refining: 'Refining', waiting: 'Waiting its turn', sending: 'Sending', isDone: 'Done in {0}', left: 'about {0} left',
  stopped: 'Stopped: the best so far', stoppedEmpty: 'Stopped', failed: 'This did not work', needPhoto: 'First choose a photograph.', needStyle: 'Now choose a painting.',
  download: 'Download', downloadSettings: 'The settings', large: 'Large version', largeText: 'Paints the same at a larger size and downloads it when it is done.',
  px: '{0} px', link: 'Share as a link', linkCopied: 'The link to these settings is copied.', linkOwn: 'Own paintings are not part of the link.', linkRead: 'The settings of the link are in place.', again: 'Use these settings',
  queue: 'Jobs', noJobs: 'What you paint will hang here.', rate: 'Stars for this picture', star: '{0} of 5 stars', forget: 'Remove from the gallery',
  compare: 'Compare', compareHint: 'Tick two to four pictures to compare them.', tick: 'Compare this one', open: 'Open {0}', loadMore: 'Show more',
  average: 'Average', count: 'Pictures', byMethod: 'By method', byStyle: 'By painting', csv: 'Download as CSV', noRatings: 'Rate pictures in the gallery; the averages stand here.',
  away: 'The service does not answer. Your work is kept; it goes on when the service is back.', back: 'The service is back.',
  notPicture: '{0} is not a picture', notPictureHint: 'Use a JPEG, PNG, WebP, HEIC, AVIF or TIFF file.', tooLarge: 'That is too large', megabytes: 'This service takes up to {0} MB.', shrunk: 'The photograph has {0} megapixels; it was made smaller for this service.',
  full: 'The disk of the service is full', fullHint: 'Remove pictures from the gallery, or make room on its disk.', keyTitle: 'This service needs a key', key: 'API key', enter: 'Enter', gone: 'The service no longer knows this job.',
  kept: 'Kept until the service is back', retry: 'Try again', several: 'Only the first file was taken.', seconds: '{0} s', minutes: '{0} min', noKept: 'The photograph of this picture is no longer kept in this browser.',
  video: 'Video', videoPass: 'A video: one quick pass', whereVideo: 'In a video the service finds the subject in each frame.', paintingVideo: 'Painting the video', noVideos: 'This service paints no videos.', firstSeconds: 'The first {0} s of the video will be painted.',
  train: 'Train a quick style', trainText: 'The service learns to paint this style in one pass. Sheets of samples show how far it is; cancel when you like one, and keep the style.', trainPainting: 'Painting', trainName: 'Name', trainMinutes: 'Minutes', trainStart: 'Start training', trainFirst: 'First choose a painting, or add one of your own.', trainNot: 'No styles can be trained here.',
  training: 'Training', trainingOf: 'Style {0}', styleReady: 'The style {0} is ready.', useStyle: 'Use it', playVideo: 'The painted video',
  largeReady: 'The large version is ready.', styleGone: 'A painting of the link is not here.',
};

const ZH = {
  paint: '开始绘制', painting: '绘制', gallery: '画廊', ratings: '评分', views: '页面',
  skip: '跳到设置', language: 'EN', languageName: '切换到英文', theme: '浅色或深色', close: '关闭', cancel: '取消',
  dropTitle: '先选一张照片', dropText: '拖到这里、粘贴，或者选一个文件；短视频也可以。文件只留在负责绘制的机器上。',
  choose: '选择照片', camera: '拍一张', change: '更换', photograph: '照片',
  paintings: '画作', adjust: '调整', where: '范围', settings: '设置',
  search: '搜索标题或画家', all: '全部', museum: '博物馆', trained: '快速', mine: '我的', wall: '铺满整面墙',
  own: '添加自己的画', nothing: '没有找到。换个词试试。', noStyles: '选一幅画，或最多混合四幅。',
  chosen: '已选画作', remove: '移除 {0}', share: '{0} 的比重', mix: '混合：拖动圆点，或用方向键',
  mostFour: '最多混合四幅画。', kinds: '这两类风格不能混合，所以替换了原来的选择。',
  quality: '质量', draft: '草稿', good: '良好', best: '最佳', onePass: '一次快速绘制', size: '尺寸', ownSize: '与照片相同',
  method: '方法', automatic: '自动', more: '更多设置', reset: '恢复默认值', keepColor: '颜色',
  keepNone: '取自画作', keepLuminance: '取自照片（精确）', keepHistogram: '取自照片（柔和）', protect: '保护面部', format: '文件',
  whereText: '可以画满整张，也可以只画指定的地方。刷过的地方会绘制；刷得越淡，画得越轻。',
  everywhere: '整张', subject: '主体', background: '背景', person: '人物', brush: '画笔…', point: '点选…', strengthHere: '绘制强度',
  onlyHere: '{0} 的区域', hasMask: '已刷选', brushTitle: '在哪里绘制', brushSize: '大小', hardness: '硬度', pressure: '强度',
  erase: '擦除', undo: '撤销', redo: '重做', clear: '清空', invert: '反选', fillAll: '填满', done: '完成', find: '识别', layer: '刷选对象',
  brushHelp: '拖动即可刷选。按键：方向键移动，空格刷，[ 和 ] 改变大小，E 擦除，P 点选，Ctrl+Z 撤销。',
  pointHelp: '点一下东西就选中它；擦除时则去掉它。按键：方向键移动，空格选中，P 回到画笔。',
  finding: '正在识别…',
  before: '之前', after: '之后', compareSlide: '前后对比', zoomIn: '放大', zoomOut: '缩小', fit: '适应窗口', pixels: '原始像素 (1:1)',
  viewer: '图片。方向键移动，加减号缩放，0 适应窗口，1 显示像素。',
  drafting: '正在画草稿…', isDraft: '草稿', refining: '正在细化', waiting: '排队中', sending: '正在发送', isDone: '完成，用时 {0}', left: '大约还需 {0}',
  stopped: '已停止：目前最好的结果', stoppedEmpty: '已停止', failed: '没有成功', needPhoto: '请先选一张照片。', needStyle: '现在选一幅画。',
  download: '下载', downloadSettings: '设置', large: '大图', largeText: '用同样的设置画一张更大的，完成后自动下载。',
  px: '{0} 像素', link: '以链接分享', linkCopied: '这些设置的链接已复制。', linkOwn: '自己的画不包含在链接里。', linkRead: '已套用链接里的设置。', again: '使用这些设置',
  queue: '任务', noJobs: '画好的作品会挂在这里。', rate: '给这张图片打分', star: '{0} 星（共 5 星）', forget: '从画廊移除',
  compare: '对比', compareHint: '勾选两到四张图片进行对比。', tick: '加入对比', open: '打开 {0}', loadMore: '显示更多',
  average: '平均分', count: '张数', byMethod: '按方法', byStyle: '按画作', csv: '下载 CSV', noRatings: '在画廊里给图片打分，平均分会显示在这里。',
  away: '服务没有响应。您的工作已保留，服务恢复后会继续。', back: '服务已恢复。',
  notPicture: '{0} 不是图片', notPictureHint: '请使用 JPEG、PNG、WebP、HEIC、AVIF 或 TIFF 文件。', tooLarge: '文件太大', megabytes: '该服务最多接受 {0} MB。', shrunk: '这张照片有 {0} 百万像素，已为该服务缩小。',
  full: '服务的磁盘已满', fullHint: '从画廊移除一些图片，或清理磁盘。', keyTitle: '该服务需要密钥', key: 'API 密钥', enter: '进入', gone: '服务已不记得这个任务。',
  kept: '已保留，等服务恢复', retry: '重试', several: '只取了第一个文件。', seconds: '{0} 秒', minutes: '{0} 分钟', noKept: '这张图片的原照片已不在此浏览器中。',
  video: '视频', videoPass: '视频：一次快速绘制', whereVideo: '在视频里，服务会在每一帧中识别主体。', paintingVideo: '正在绘制视频', noVideos: '该服务不绘制视频。', firstSeconds: '将绘制视频的前 {0} 秒。',
  train: '训练快速风格', trainText: '服务会学会一次就画出这种风格。样张显示进度；满意时可以取消，并保留这个风格。', trainPainting: '画作', trainName: '名称', trainMinutes: '分钟', trainStart: '开始训练', trainFirst: '请先选一幅画，或添加自己的画。', trainNot: '这里不能训练风格。',
  training: '正在训练', trainingOf: '风格 {0}', styleReady: '风格 {0} 已完成。', useStyle: '使用', playVideo: '画好的视频',
  largeReady: '大图已完成。', styleGone: '链接里有一幅画这里没有。',
};

// Settings of the methods in both languages: a short name, and in Chinese what the schema says in English.
const NAMES = {
  strength: ['Strength', '强度', '从照片 (0) 到完整的风格 (1)'],
  style_scale: ['Stroke size', '笔触大小', '画作相对照片的大小：大于 1 时笔触更大'],
  content_weight: ['Photograph', '照片权重', '照片内容占多少；1 为均衡'],
  style_weight: ['Style', '风格权重', '风格占多少；1 为均衡'],
  detail: ['Fine detail', '细节', '保留多少照片的细节：0 全部重画，1 近似给照片着色'],
  stroke_weight: ['Strokes', '笔触权重', '每一处与画作某处相像的程度占多少'],
  tv_weight: ['Smoothness', '平滑', '平滑占多少；0 留下噪点，4 像水粉画'],
  laplacian_weight: ['Outlines', '轮廓', '照片的轮廓占多少'],
  coarse_content: ['Large shapes', '大形', '在一半及更小的尺寸上内容占的倍数'],
  deep_style: ['Motifs', '物象', '看得到整个物象的层在风格中的权重；越低，搬来的物象越少'],
  patches: ['Patches', '小块数', '每一步比较画面的多少个小块'],
  patch_size: ['Patch size', '小块大小', '小块的边长占长边的比例'],
  threshold: ['Threshold', '阈值', '小块的损失不超过它就不再推动'],
  clip: ['CLIP', 'CLIP', '由哪个 CLIP 来读文字'],
  steps: ['Steps', '步数', '完整尺寸上的步数'],
  seed: ['Seed', '随机种子', '起始噪声的随机种子'],
  style_loss: ['Style loss', '风格损失', '衡量风格的损失函数'],
  content_loss: ['Content loss', '内容损失', '衡量内容的损失函数'],
  coarsest: ['Coarsest level', '最粗一级', '金字塔最粗一级的最长边，单位像素'],
  octaves: ['Octaves', '尺度数', '在几种尺寸上比较风格'],
  optimizer: ['Optimiser', '优化器', '所用的优化器'],
  init: ['Start from', '起始图', '从哪张图开始'],
  canvas: ['Canvas', '画布', 'photorealistic 只改变颜色，不弯曲线条'],
  border: ['Border', '边界', '画面在边缘之外如何延续；wrap 得到可无缝拼接的图'],
  encoder: ['Encoder', '编码器', '比较图片的网络'],
};

export const language = {
  get now() {
    const kept = localStorage.getItem(LANGUAGE);
    return kept ?? (navigator.languages?.[0]?.toLowerCase().startsWith('zh') ? 'zh' : 'en');
  },
  set now(code) {
    localStorage.setItem(LANGUAGE, code);
  },
};

// The words of a key, with {0}, {1} filled in.
export function t(key, ...values) {
  const words = (language.now === 'zh' ? ZH : EN)[key] ?? EN[key] ?? key;
  return words.replace(/\{(\d)\}/g, (_, index) => values[index]);
}

export function knobName(name) {
  const known = NAMES[name];
  if (known) return known[language.now === 'zh' ? 1 : 0];
  const words = name.replaceAll('_', ' ');
  return words[0].toUpperCase() + words.slice(1);
}

export function knobHelp(name, english) {
  return (language.now === 'zh' && NAMES[name]?.[2]) || english;
}

export function duration(seconds) {
  return seconds < 90 ? t('seconds', seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)) : t('minutes', Math.round(seconds / 60));
}

export const same = () => [Object.keys(EN), Object.keys(ZH)];
